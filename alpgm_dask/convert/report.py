"""What a conversion met and what it did about it: every handled fault with a count, and the totals that came out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

_SHOWN = 5


@dataclass(frozen=True)
class Fault:
    """One kind of fault: how often it was met, what was done, and some of the cases."""

    name: str
    count: float
    action: str
    cases: tuple[str, ...] = ()


@dataclass
class ConversionReport:
    """Totals, faults and notes of one conversion.

    Attributes
    ----------
    title
        what was converted.
    totals
        name with its unit -> number, such as ``{"area (km2)": 2104.5}``.
    faults
        every fault that the conversion knows of, in the order they were looked for; a count of 0 is kept, it
        says that the fault was looked for.
    notes
        decisions that a reader of the result should know.
    tables
        name -> rows, for what needs more than one number (such as unmatched area of every massif).
    """

    title: str
    totals: dict[str, float] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    def add(self, name: str, count: float, action: str, cases: Iterable[object] = ()) -> None:
        """Enter a fault; `cases` are kept whole in the file, the printed table shows the first few."""
        number = round(float(count), 6)
        self.faults.append(Fault(name, int(number) if number == int(number) else number, action, (*map(str, cases),)))

    def count(self, name: str) -> float:
        """How often a fault was met (KeyError if the report does not know it)."""
        found = [fault.count for fault in self.faults if fault.name == name]
        if not found:
            raise KeyError(name)
        return found[0]

    def as_dict(self) -> dict[str, object]:
        """Plain lists, dicts, strings and numbers."""
        faults = [{"name": f.name, "count": f.count, "action": f.action, "cases": list(f.cases)} for f in self.faults]
        return {
            "title": self.title,
            "totals": self.totals,
            "faults": faults,
            "notes": self.notes,
            "tables": self.tables,
        }

    def to_json(self) -> str:
        """The report as JSON text.

        >>> report = ConversionReport("demo", totals={"glaciers": 2})
        >>> report.add("negative thickness (pixels)", 3, "no ice", ["RGI60-11.00001"])
        >>> json.loads(report.to_json())["faults"][0]["count"]
        3
        """
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False, default=str)

    def __str__(self) -> str:
        lines = [self.title, "=" * len(self.title)]
        lines += [f"{name:<52} {value:>14,.10g}" for name, value in self.totals.items()]
        lines += ["", f"{'met':<70} {'count':>9}  what was done"]
        for fault in self.faults:
            lines.append(f"{fault.name:<70} {fault.count:>9,g}  {fault.action}")
            if fault.cases:
                more = f" and {len(fault.cases) - _SHOWN} more" if len(fault.cases) > _SHOWN else ""
                lines.append(f"    {', '.join(fault.cases[:_SHOWN])}{more}")
        for name, rows in self.tables.items():
            lines += ["", name]
            lines += ["    " + ", ".join(f"{key}: {value}" for key, value in row.items()) for row in rows]
        lines += [""] * bool(self.notes) + [f"- {note}" for note in self.notes]
        return "\n".join(lines)
