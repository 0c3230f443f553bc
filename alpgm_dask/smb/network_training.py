"""Training many small networks at once with Keras: members of an ensemble and inner folds, in one model.

Networks lie side by side along an axis of the model; each has its own rows, its own order of them, its own start.
Their losses are added and no weight is shared, so each is trained as if it were alone; the cost is that of one model
with somewhat larger products. TensorFlow is imported here, inside functions, and nowhere else in the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from alpgm_dask.smb.network_architecture import EPSILON, LEAK, Architecture, Weights, start


class Task(NamedTuple):
    """Networks to train.

    Attributes
    ----------
    features, target, weight
        (network, row, feature), (network, row), (network, row); standardised for each network.
    rows
        For each network the rows that it is trained on.
    streams
        For each network the numbers that its random start and order of rows follow from.
    seed
        Of dropout and noise.
    """

    features: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    rows: list[np.ndarray]
    streams: list[tuple[int, ...]]
    seed: int


#: Called after every pass with its number from 1, the predictions (network, row) of all rows, and a function that gives
#: the weights; says whether to stop.
Watch = Callable[[int, np.ndarray, Callable[[], Weights]], bool]


def train(task: Task, how: Architecture, epochs: int, watch: Watch | None = None) -> Weights:
    """Train all networks of a task for so many passes over their rows.

    Parameters
    ----------
    task, how, epochs
        What to train, how, and for how long. The longest set of rows makes a pass; shorter ones are begun again.
    watch
        See :data:`Watch`; None: nobody looks.

    Returns
    -------
    The weights after the last pass; the same, to the bit, for the same task in any process of the same machine.
    """
    import tensorflow as tf

    _one_thread(tf)
    n_networks, _, n_features = task.features.shape
    random = [np.random.default_rng(stream) for stream in task.streams]
    model = build(how, n_networks, n_features, task.seed)
    put_weights(model, start(how, n_features, random))
    one_pass = _one_pass(tf, model, how)
    data = [tf.constant(np.asarray(a, dtype="float32")) for a in (task.features, task.target, task.weight)]
    everything = tf.transpose(data[0], (1, 0, 2))
    predict = tf.function(lambda: model(everything, training=False))
    for epoch in range(1, epochs + 1):
        one_pass(*data, tf.constant(_batches(task.rows, how.batch_size, random)))
        if watch is not None and watch(epoch, predict().numpy().T, lambda: get_weights(model)):
            break
    return get_weights(model)


def _one_thread(tf: Any) -> None:
    """Sums over several threads have another order: the last digits would depend on the machine and its load."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow has started already, and keeps the threads it has
        return


def _batches(rows: list[np.ndarray], size: int, random: list[np.random.Generator]) -> np.ndarray:
    """(step, network, row of the batch) rows of one pass: every network's own, shuffled; none is left out."""
    longest = max(map(len, rows))
    steps = max(1, round(longest / size))
    size = -(-longest // steps)
    shuffled = [np.resize(r.permutation(own), steps * size) for own, r in zip(rows, random, strict=True)]
    return np.stack(shuffled).reshape(len(rows), steps, size).transpose(1, 0, 2).astype("int32")


def _one_pass(tf: Any, model: Any, how: Architecture) -> Callable:
    """A compiled function that takes one optimizer step for each batch."""
    import keras

    optimizer = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}[how.optimizer](how.learning_rate)
    optimizer.build(model.trainable_variables)
    kernels = [variable.value for variable in model.trainable_variables if variable.name == "kernel"]

    def loss(features, target, weight):
        error = tf.reduce_mean(weight * (model(features, training=True) - target) ** 2, 0)
        if how.loss == "rmse":
            error = tf.sqrt(error + 1e-12)  # the root has no slope at 0
        penalty = how.l2 * tf.add_n([tf.reduce_sum(kernel**2) for kernel in kernels]) if how.l2 else 0.0
        return tf.reduce_sum(error) + penalty

    @tf.function
    def one_pass(features, target, weight, batches):
        for step in tf.range(tf.shape(batches)[0]):
            rows = batches[step]
            batch = tf.transpose(tf.gather(features, rows, batch_dims=1), (1, 0, 2))
            wanted = tf.transpose(tf.gather(target, rows, batch_dims=1))
            counts = tf.transpose(tf.gather(weight, rows, batch_dims=1))
            with tf.GradientTape() as tape:
                total = loss(batch, wanted, counts)
            optimizer.apply(tape.gradient(total, model.trainable_variables), model.trainable_variables)

    return one_pass


def build(
    how: Architecture, n_networks: int, n_features: int, seed: int = 0, scaling: dict[str, np.ndarray] | None = None
) -> Any:
    """A Keras model of all networks, made of layers that Keras has.

    Without `scaling` it takes (row, network, feature), standardised, and gives (row, network): what is trained. With
    feature_mean, feature_scale, target_mean and target_scale it takes raw features (row, feature) and gives SMB.
    """
    from keras import Input, Model, layers

    if scaling is None:
        inputs = values = Input((n_networks, n_features))
    else:
        inputs = Input((n_features,))
        mean, scale = scaling["feature_mean"], scaling["feature_scale"]
        values = layers.RepeatVector(n_networks)(layers.Normalization(mean=mean, variance=scale**2)(inputs))
    if how.noise:
        values = layers.GaussianNoise(how.noise, seed=seed)(values)
    for k, (width, rate) in enumerate(zip(how.widths, how.rates(), strict=True)):
        values = _dense(n_networks, width, k)(values)
        if how.batch_norm:
            # networks and units along one axis: each unit of each network has statistics of its own
            values = layers.Reshape((n_networks * width,))(values)
            values = layers.BatchNormalization(epsilon=EPSILON, name=f"norm_{k}")(values)
            values = layers.Reshape((n_networks, width))(values)
        smooth = how.activation == "swish"
        values = layers.Activation("silu")(values) if smooth else layers.LeakyReLU(negative_slope=LEAK)(values)
        if rate:
            values = layers.Dropout(rate, seed=seed + k + 1)(values)
    values = layers.Reshape((n_networks,))(_dense(n_networks, 1, len(how.widths))(values))
    if scaling is not None:
        values = layers.Rescaling(float(scaling["target_scale"]), float(scaling["target_mean"]))(values)
    return Model(inputs, values)


def _dense(n_networks: int, width: int, k: int) -> Any:
    from keras import layers

    shape = (n_networks, width)
    return layers.EinsumDense("rmi,mio->rmo", output_shape=shape, bias_axes="mo", name=f"dense_{k}")


def _variables(model: Any) -> dict[str, Any]:
    """The variables of a model by the names of :data:`Weights`."""
    names = {"moving_mean": "mean", "moving_variance": "variance"}
    return {
        f"{names.get(variable.name, variable.name)}_{layer.name.rsplit('_', 1)[1]}": variable
        for layer in model.layers
        if layer.name.startswith(("dense_", "norm_"))
        for variable in layer.weights
    }


def put_weights(model: Any, weights: Weights) -> None:
    """Set the weights of a model."""
    for name, variable in _variables(model).items():
        variable.assign(np.reshape(weights[name], variable.shape).astype("float32"))


def get_weights(model: Any) -> Weights:
    """The weights of a model, each with the networks along the first axis."""
    n_networks = model.output_shape[1]
    out = {}
    for name, variable in _variables(model).items():
        values = variable.numpy()
        out[name] = values if values.ndim > 1 else values.reshape(n_networks, -1)
    return out
