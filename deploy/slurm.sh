#!/bin/bash
# The process that makes the graph and holds the scheduler, as a small job of its own: sbatch deploy/slurm.sh deploy/slurm.toml
#SBATCH --job-name=alpgm
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=24:00:00
#SBATCH --output=logs/alpgm.%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?start this with sbatch, in the root of the repository}"
mkdir -p logs
source .venv/bin/activate
# what an earlier job of this run has finished is not done again
alpgm run "${1:?usage: sbatch deploy/slurm.sh RUN.toml}" --resume
