"""Usage: rnn.py --data FOLDER [--steps 10000] [--output FOLDER] [--seed N] [--network auto|unrolled|keras].

Trains a recurrent network on MNIST or Fashion-MNIST: an LSTM with 128 units reads an image as 28 rows
of 28 pixels, a linear layer names one of 10 classes; softmax cross entropy, plain gradient descent with
learning rate 0.001, batches of 128, float32. Prints the transcript of the TensorFlow 1 example
`recurrent_network.py` on stdout, progress on stderr, and writes result.json into the output folder.

Exit codes: 0 done, 1 less accurate than a correct run, 2 wrong data, folder or option.
Imports nothing of Spud, so the file alone is the job. docs/benchmarks.md says what is measured.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import platform
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

STARTED_S = time.perf_counter()  # numpy and TensorFlow come later: their import is part of `real`

ROWS, PIXELS, HIDDEN, CLASSES = 28, 28, 128, 10
BATCH = 128
LEARNING_RATE = 0.001
FORGET_BIAS = 1.0
VALIDATION = 5_000  # held back from training by the original's reader; nothing here uses them
FIRST_TEST = 128  # the original judged itself by the first 128 test images only
DISPLAY_STEP = 200
CHUNK_STEPS = 20  # steps in one call of the compiled loop: calls cost nothing, progress stays live
PROGRESS_S = 3.0
WARM_UP_STEPS, WARM_UP_S = 10, 2.0

Array = Any  # of numpy, which is imported with TensorFlow, once the data is known to be good

# --- Data -------------------------------------------------------------------------------------------

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}

# SHA-256 of the unpacked files, in the order of FILES, so that it does not matter who compressed them.
# Where they come from: appliance/datasets/dataset.py.
SHA256 = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion-mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


class InputError(Exception):
    """Something given from outside cannot be used; the message is one sentence for the user."""


@dataclass(frozen=True)
class DataSet:
    """The unpacked IDX files in the order of FILES, known to be those published."""

    name: str
    sha256: Mapping[str, str]
    contents: Sequence[bytes]


def load_dataset(folder: Path) -> DataSet:
    """Read the four files, plain or .gz, and recognise the data set by their hashes.

    Raises InputError when a file is missing, damaged or of no known data set.
    """
    contents = [read_file(folder, name) for name in FILES]
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    return DataSet(recognise(folder, hashes), dict(zip(FILES, hashes, strict=True)), contents)


def read_file(folder: Path, name: str) -> bytes:
    """Return the unpacked content of `name` or `name.gz`."""
    path = folder / f"{name}.gz"
    if not path.exists():
        path = folder / name
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds no {name}.gz. Choose a data set that the box has: spud data list"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path} is damaged. Remove its folder and import the data set again.") from None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from None


def recognise(folder: Path, hashes: Sequence[str]) -> str:
    """Return the name of the data set with these hashes, which are in the order of FILES."""
    for name, known in SHA256.items():
        if tuple(hashes) == known:
            return name
    known_hashes = {value for values in SHA256.values() for value in values}
    wrong = next((f for f, value in zip(FILES, hashes, strict=True) if value not in known_hashes), None)
    what = f"{wrong} in {folder} is not the published file" if wrong else f"{folder} mixes two data sets"
    raise InputError(
        f"{what} of {' or '.join(TITLES.values())}. Remove the folder and import the data set again."
    )


@dataclass(frozen=True)
class Examples:
    """Images `(n, 28, 28) float32` in 0..1 and labels `(n, 10) float32`, one-hot as in the original."""

    images: Array
    labels: Array


def read_examples(dataset: DataSet) -> tuple[Examples, Examples]:
    """Return the 55,000 examples to train on, and the 10,000 to test with."""
    images, labels, test_images, test_labels = dataset.contents
    return parse(images, labels, skip=VALIDATION), parse(test_images, test_labels)


def parse(images: bytes, labels: bytes, skip: int = 0) -> Examples:
    """Return what two IDX files hold, without the first `skip`.

    The header is 16 bytes for images, 8 for labels; then one byte per pixel or label.
    """
    import numpy as np  # type: ignore[import-not-found, unused-ignore]  # in the image only

    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, ROWS, PIXELS)[skip:]
    classes = np.frombuffer(labels, np.uint8, offset=8)[skip:]
    return Examples(
        pixels.astype(np.float32) * np.float32(1 / 255), np.eye(CLASSES, dtype=np.float32)[classes]
    )


# --- What a run starts from ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """The parameters: `kernel (28 + 128, 512)` over pixels then state, gates in the order i, j, f, o."""

    kernel: Array
    bias: Array
    output_kernel: Array
    output_bias: Array


def initial_weights(seed: int) -> Weights:
    """Return TensorFlow 1's start: Glorot-uniform cell, zero cell bias, normal(0, 1) linear layer."""
    import numpy as np

    random = np.random.default_rng([seed, 0])
    limit = (6 / (PIXELS + HIDDEN + 4 * HIDDEN)) ** 0.5
    return Weights(
        random.uniform(-limit, limit, (PIXELS + HIDDEN, 4 * HIDDEN)).astype(np.float32),
        np.zeros(4 * HIDDEN, np.float32),
        random.standard_normal((HIDDEN, CLASSES)).astype(np.float32),
        random.standard_normal(CLASSES).astype(np.float32),
    )


def batch_order(steps: int, count: int, seed: int) -> Array:
    """Return which of `count` examples each step takes, `(steps, 128) int32`: shuffled epochs, end to end."""
    import numpy as np

    random = np.random.default_rng([seed, 1])
    epochs = -(-steps * BATCH // count)
    order = np.concatenate([random.permutation(count) for _ in range(epochs)])
    return order[: steps * BATCH].reshape(steps, BATCH).astype(np.int32)


# --- The machine --------------------------------------------------------------------------------------


def available_cores() -> int:
    """Return how many cores this process can keep busy: its affinity, cut by the container's quota."""
    return max(1, min(len(os.sched_getaffinity(0)), int(cpu_quota(Path("/sys/fs/cgroup")))))


def cpu_quota(cgroup: Path) -> float:
    """Return the container's limit in cores, infinitely many (1e9) when it has none."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()  # cgroup v2
    except OSError:
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return 1e9
    return 1e9 if quota in ("max", "-1") else int(quota) / int(period)


def shard_count(cores: int) -> int:
    """Return into how many parts to split a batch: one per core, a divisor of 128, at most 4.

    Smaller parts than 32 images lose more in matrix products than further cores gain.
    """
    return max(count for count in (1, 2, 4) if count <= cores)


def start_tensorflow(threads: int, log: Path) -> Any:
    """Import TensorFlow; an operation runs on one of `threads` threads.

    What it says on stderr while starting (on every start, whatever its log level) goes to the file `log`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with stderr_in(log):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.config.experimental.enable_tensor_float_32_execution(enabled=False)  # the workload is float32
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, enable=True)
        tf.config.list_logical_devices()  # starts the runtime
    return tf


@contextmanager
def stderr_in(path: Path) -> Iterator[None]:
    """Send stderr, also that of C++ code, to a file."""
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("wb") as log:
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# --- The network, in two formulations of the same mathematics -----------------------------------------


@dataclass(frozen=True)
class Network:
    """Variables, `logits(images)`, and `gradients(images, labels)` of the mean loss, one per variable."""

    variables: Sequence[Any]
    logits: Callable[[Any], Any]
    gradients: Callable[[Any, Any], Sequence[Any]]


def unrolled_network(tf: Any, start: Weights) -> Network:
    """Return the LSTM as 28 written-out cells: the fastest form on a CPU.

    The pixels of all 28 rows meet the kernel in one product before the recurrence, and the gradients of
    the kernels come from one product over all rows after it; only the state's product stays in the chain.
    """
    pixel_kernel = tf.Variable(start.kernel[:PIXELS])
    state_kernel = tf.Variable(start.kernel[PIXELS:])
    bias = tf.Variable(start.bias)
    output_kernel = tf.Variable(start.output_kernel)
    output_bias = tf.Variable(start.output_bias)

    def unroll(images: Any) -> tuple[Any, Any, list[Any], list[Any]]:
        pixels = tf.reshape(tf.transpose(images, [1, 0, 2]), [-1, PIXELS])
        from_pixels = tf.split(tf.nn.bias_add(tf.matmul(pixels, pixel_kernel), bias), ROWS)
        state = memory = tf.zeros([tf.shape(images)[0], HIDDEN])
        states, gates = [], []
        for row in from_pixels:
            states.append(state)
            gates.append(row + tf.matmul(state, state_kernel))
            new, candidate, forget, output = tf.split(gates[-1], 4, axis=1)
            memory = memory * tf.sigmoid(forget + FORGET_BIAS) + tf.sigmoid(new) * tf.tanh(candidate)
            state = tf.tanh(memory) * tf.sigmoid(output)
        return tf.matmul(state, output_kernel) + output_bias, pixels, states, gates

    def gradients(images: Any, labels: Any) -> list[Any]:
        logits, pixels, states, gates = unroll(images)
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits))
        *by_gate, by_output_kernel, by_output_bias = tf.gradients(loss, [*gates, output_kernel, output_bias])
        by_gates = tf.concat(by_gate, axis=0)
        return [
            tf.matmul(pixels, by_gates, transpose_a=True),
            tf.matmul(tf.concat(states, axis=0), by_gates, transpose_a=True),
            tf.reduce_sum(by_gates, axis=0),
            by_output_kernel,
            by_output_bias,
        ]

    variables = [pixel_kernel, state_kernel, bias, output_kernel, output_bias]
    return Network(variables, lambda images: unroll(images)[0], gradients)


def keras_network(tf: Any, start: Weights) -> Network:
    """Return the LSTM as a Keras layer: on a GPU it is cuDNN's, few launches where 28 cells take many."""
    kernel, bias = keras_gates(start.kernel), keras_gates(start.bias + forget_bias())
    lstm = tf.keras.layers.LSTM(HIDDEN)
    lstm.build((None, ROWS, PIXELS))
    lstm.set_weights([kernel[:PIXELS], kernel[PIXELS:], bias])
    output_kernel = tf.Variable(start.output_kernel)
    output_bias = tf.Variable(start.output_bias)
    variables = [*(weight.value for weight in lstm.trainable_weights), output_kernel, output_bias]

    def logits(images: Any) -> Any:
        return tf.matmul(lstm(images), output_kernel) + output_bias

    def gradients(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits(images)))
        return tape.gradient(loss, variables)

    return Network(variables, logits, gradients)


def keras_gates(weights: Array) -> Array:
    """Return weights with gates in the order i, j, f, o in Keras's order i, f, j, o."""
    import numpy as np

    new, candidate, forget, output = np.split(weights, 4, axis=-1)
    return np.concatenate([new, forget, candidate, output], axis=-1)


def forget_bias() -> Array:
    """Return the bias (gates i, j, f, o) that equals the constant the original adds to the forget gate."""
    import numpy as np

    return np.repeat(np.float32([0, 0, FORGET_BIAS, 0]), HIDDEN)


@dataclass(frozen=True)
class Trainer:
    """The compiled functions, on rows of numbers of training examples as batch_order gives them."""

    train: Callable[[Array], None]
    """Do one step per row, and wait until the device is done."""
    score: Callable[[Array], tuple[float, float]]
    """Return loss and accuracy on one row."""
    classify: Callable[[Array], Array]
    """Return the classes of any images."""


def build_trainer(tf: Any, network: Network, examples: Examples, shards: int) -> Trainer:
    """Put the training images on the device, once, and compile the steps.

    A batch is split into `shards` parts with a branch of the graph each; their gradients are averaged,
    which is the gradient of the whole batch. TensorFlow runs the branches on different cores, which
    gains more than several cores on each of these small products.
    """
    all_images, all_labels = tf.constant(examples.images), tf.constant(examples.labels)

    def step(batch: Any) -> None:
        images, labels = tf.gather(all_images, batch), tf.gather(all_labels, batch)
        parts = zip(tf.split(images, shards), tf.split(labels, shards), strict=True)
        by_part = [network.gradients(*part) for part in parts]
        for variable, *gradients in zip(network.variables, *by_part, strict=True):
            variable.assign_sub(tf.add_n(gradients) * (LEARNING_RATE / shards))

    def train(order: Any) -> Any:
        for index in tf.range(tf.shape(order)[0]):
            step(order[index])
        return tf.reduce_sum(network.variables[-1])

    def score(batch: Any) -> Any:
        labels, logits = tf.gather(all_labels, batch), network.logits(tf.gather(all_images, batch))
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits))
        hits = tf.equal(tf.argmax(logits, axis=1), tf.argmax(labels, axis=1))
        return loss, tf.reduce_mean(tf.cast(hits, tf.float32))

    def classify(images: Any) -> Any:
        return tf.argmax(network.logits(images), axis=1)

    return compile_trainer(tf, train, score, classify)


def compile_trainer(tf: Any, train: Any, score: Any, classify: Any) -> Trainer:
    """Compile the functions, each for one shape, and let them take and give numpy's values."""
    train = tf.function(train, input_signature=[tf.TensorSpec((None, BATCH), tf.int32)])
    score = tf.function(score, input_signature=[tf.TensorSpec((BATCH,), tf.int32)])
    classify = tf.function(classify, input_signature=[tf.TensorSpec((None, ROWS, PIXELS), tf.float32)])

    def score_batch(batch: Array) -> tuple[float, float]:
        loss, accuracy = score(batch)
        return float(loss), float(accuracy)

    return Trainer(lambda order: train(order).numpy(), score_batch, lambda images: classify(images).numpy())


# --- Training -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """What was seen: (step, loss, accuracy) every 200 steps, and (steps, seconds) of every call."""

    checkpoints: Sequence[tuple[int, float, float]]
    calls: Sequence[tuple[int, float]]


def stops(steps: int) -> Iterator[int]:
    """Yield the steps after which the compiled loop returns: 1, every 20th, the last."""
    yield 1
    yield from range(CHUNK_STEPS, steps, CHUNK_STEPS)
    if steps > 1:
        yield steps


def run_training(trainer: Trainer, order: Array) -> Training:
    """Train on all rows of `order`, printing the transcript and progress."""
    checkpoints: list[tuple[int, float, float]] = []
    calls: list[tuple[int, float]] = []
    done, noted_s = 0, time.perf_counter()
    for stop in stops(len(order)):
        began_s = time.perf_counter()
        trainer.train(order[done:stop])
        now_s = time.perf_counter()
        calls.append((stop - done, now_s - began_s))
        done = stop
        if done % DISPLAY_STEP == 0 or done == 1:
            checkpoints.append((done, *trainer.score(order[done - 1])))
            print(transcript_line(*checkpoints[-1]), flush=True)
        if now_s - noted_s > PROGRESS_S and len(calls) > 1:
            noted_s = now_s
            note(progress_line(done, len(order), calls))
    return Training(checkpoints, calls)


def transcript_line(step: int, loss: float, accuracy: float) -> str:
    """Return the original's line of one checkpoint."""
    return f"Step {step}, Minibatch Loss= {loss:.4f}, Training Accuracy= {accuracy:.3f}"


def progress_line(done: int, steps: int, calls: Sequence[tuple[int, float]]) -> str:
    """Return how far the training is, how fast, and when it will end."""
    rate = steady_rate(calls) or rate_of(calls[1:])  # the first call compiles
    return f"{done}/{steps} steps, {rate:.1f} steps/s, {(steps - done) / rate:.0f} s left"


def steady_rate(calls: Sequence[tuple[int, float]]) -> float | None:
    """Return steps per second after the warm-up of 10 steps and 2 s, None for a shorter run."""
    warm_steps, warm_s = 0, 0.0
    for index, (steps, seconds) in enumerate(calls):
        if warm_steps >= WARM_UP_STEPS and warm_s >= WARM_UP_S:
            return rate_of(calls[index:])
        warm_steps, warm_s = warm_steps + steps, warm_s + seconds
    return None


def rate_of(calls: Sequence[tuple[int, float]]) -> float:
    """Return steps per second over all of these calls."""
    return sum(steps for steps, _ in calls) / sum(seconds for _, seconds in calls)


def note(text: str) -> None:
    """Print a note for the reader, beside the transcript."""
    print(text, file=sys.stderr, flush=True)


# --- The result ---------------------------------------------------------------------------------------

# The lowest accuracy of correct runs on all test images after so many steps, over two or more seeds
# (docs/benchmarks.md). MNIST: on 8,000 real digits to train with and 2,000 to test.
ACCURACY_SEEN = {
    "mnist": {1_000: 0.481, 2_000: 0.592, 5_000: 0.759, 10_000: 0.855},
    "fashion-mnist": {1_000: 0.667, 2_000: 0.712, 5_000: 0.767, 10_000: 0.794},
}
SLACK = 0.02


def accuracy_bar(dataset: str, steps: int) -> float | None:
    """Return the least accuracy of a correct run, None when `steps` is too few to judge.

    Linear between the points seen, which is below the curve; beyond the last point its value.
    """
    points = sorted(ACCURACY_SEEN[dataset].items())
    if steps < points[0][0]:
        return None
    for (low, at_low), (high, at_high) in pairwise(points):
        if steps <= high:
            return round(at_low + (at_high - at_low) * (steps - low) / (high - low) - SLACK, 4)
    return round(points[-1][1] - SLACK, 4)


@dataclass(frozen=True)
class Accuracy:
    """Shares 0..1 of test images named rightly; `bar` is for `all_images`."""

    first_128: float
    all_images: float
    bar: float | None

    @property
    def is_enough(self) -> bool:
        """Whether the run is as accurate as a correct one."""
        return self.bar is None or self.all_images >= self.bar


def measure_accuracy(trainer: Trainer, test: Examples, bar: float | None) -> Accuracy:
    """Classify all test images."""
    hits = trainer.classify(test.images) == test.labels.argmax(axis=1)
    return Accuracy(float(hits[:FIRST_TEST].mean()), float(hits.mean()), bar)


def process_times() -> dict[str, float]:
    """Return seconds since the start as `time` gives them: wall clock, CPU in user mode, in the kernel."""
    used = os.times()
    return {"real": time.perf_counter() - STARTED_S, "user": used.user, "sys": used.system}


def clock(seconds: float) -> str:
    """Return seconds in the form of `time`: 1m22.601s."""
    return f"{int(seconds // 60)}m{seconds % 60:.3f}s"


def verdict(accuracy: Accuracy, dataset: str, steps: int) -> str:
    """Return one sentence on whether the run counts."""
    if accuracy.bar is None:
        return f"{steps} steps are too few to judge the accuracy."
    if accuracy.is_enough:
        return (
            f"The accuracy {accuracy.all_images:.4f} reaches the bar of {accuracy.bar:.4f} for {steps} steps."
        )
    return (
        f"The accuracy {accuracy.all_images:.4f} is below the bar of {accuracy.bar:.4f} for {steps} steps on "
        f"{TITLES[dataset]}: the network did not learn as it must, so the times do not count."
    )


def describe_system() -> dict[str, Any]:
    """Return the machine as far as a reader needs it to compare results."""
    models = [line for line in read_lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "cores_available": available_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "platform": platform.platform(),
        "load_average": os.getloadavg()[0],
    }


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file, none when it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def describe_software(tf: Any) -> dict[str, str]:
    """Return the versions that bear on speed."""
    build = tf.sysconfig.get_build_info()
    versions = {"python": platform.python_version(), "tensorflow": tf.__version__}
    return versions | {
        key: str(build[f"{key}_version"]) for key in ("cuda", "cudnn") if f"{key}_version" in build
    }


def describe_metrics(
    training: Training, times: Mapping[str, float], startup_s: float
) -> list[dict[str, Any]]:
    """Return the numbers measured, each with name, value and unit; what was not measured is absent."""
    rate = steady_rate(training.calls)
    metrics = [
        ("steps_per_second", rate, "1/s"),
        ("images_per_second", rate and rate * BATCH, "1/s"),
        ("real", times["real"], "s"),
        ("user", times["user"], "s"),
        ("sys", times["sys"], "s"),
        ("startup", startup_s, "s"),
        ("compile", training.calls[0][1], "s"),
    ]
    return [
        {"name": name, "value": round(value, 4), "unit": unit}
        for name, value, unit in metrics
        if value is not None
    ]


def write_result(output: Path, result: Mapping[str, Any]) -> None:
    """Write result.json whole or not at all."""
    beside = output / ".result.json"
    beside.write_text(json.dumps(result, indent=2) + "\n")
    beside.replace(output / "result.json")


# --- The run ------------------------------------------------------------------------------------------


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="rnn.py", description="Train a recurrent network and time it.")
    output = Path(os.environ.get("SPUD_OUTPUT_DIR", "/output"))
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with the four IDX files, plain or .gz"
    )
    parser.add_argument("--steps", type=positive, default=10_000, help="training steps (default 10000)")
    parser.add_argument(
        "--output", type=Path, default=output, help="folder for result.json (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of initial weights and batches (default 1)")
    parser.add_argument(
        "--network",
        choices=["auto", "unrolled", "keras"],
        default="auto",
        help="formulation of the LSTM: auto takes unrolled on a CPU, keras (cuDNN) on a GPU",
    )
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """Return the whole number, at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def prepare_output(folder: Path) -> None:
    """Make the folder and see that it can be written, before minutes are spent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".result.json").write_text("")
        (folder / ".result.json").unlink()
    except OSError as error:
        raise InputError(
            f"Cannot write to {folder}: {error.strerror}. Name another folder with --output."
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, judge, report; returns the exit code."""
    options = parse_options(arguments)
    try:
        prepare_output(options.output)
        dataset = load_dataset(options.data)
    except InputError as error:
        note(str(error))
        return 2
    return run(options, dataset)


@dataclass(frozen=True)
class Setup:
    """What the training runs on, and in which form."""

    device: str
    network: str
    threads: int
    shards: int


def choose_setup(tf: Any, network: str, threads: int) -> Setup:
    """Return the setup: on a GPU one part and cuDNN, on a CPU one part of the batch per thread."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return Setup("CPU", "unrolled" if network == "auto" else network, threads, shards=threads)
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return Setup(name, "keras" if network == "auto" else network, threads, shards=1)


def run(options: argparse.Namespace, dataset: DataSet) -> int:
    """Train on `dataset`; write the transcript and result.json."""
    tf = start_tensorflow(shard_count(available_cores()), options.output / "tensorflow.log")
    setup = choose_setup(tf, options.network, shard_count(available_cores()))
    note(introduction(dataset, options.steps, setup))

    train, test = read_examples(dataset)
    build = {"unrolled": unrolled_network, "keras": keras_network}[setup.network]
    trainer = build_trainer(tf, build(tf, initial_weights(options.seed)), train, setup.shards)
    order = batch_order(options.steps, len(train.images), options.seed)
    startup_s = time.perf_counter() - STARTED_S

    training = run_training(trainer, order)
    print("Optimization Finished!")
    accuracy = measure_accuracy(trainer, test, accuracy_bar(dataset.name, options.steps))
    print(f"Testing Accuracy: {accuracy.first_128}")
    print(f"Testing Accuracy, all {len(test.images)} images: {accuracy.all_images:.4f}")
    times = process_times()
    print("\n".join(["", *(f"{name}\t{clock(seconds)}" for name, seconds in times.items())]), flush=True)

    sentence = verdict(accuracy, dataset.name, options.steps)
    note(sentence)
    write_result(
        options.output,
        {
            "benchmark": "rnn",
            "succeeded": accuracy.is_enough,
            "verdict": sentence,
            "system": describe_system(),
            "software": describe_software(tf),
            "device": setup.device,
            "threads": {"intra_op": 1, "inter_op": setup.threads, "shards": setup.shards},
            "workload": describe_workload(options, setup),
            "dataset": {
                "name": dataset.name,
                "title": TITLES[dataset.name],
                "train_images": len(train.images),
                "test_images": len(test.images),
                "sha256": dict(dataset.sha256),
            },
            "accuracy": {"first_128": accuracy.first_128, "all": accuracy.all_images, "bar": accuracy.bar},
            "checkpoints": [
                {"step": step, "loss": loss, "accuracy": share} for step, loss, share in training.checkpoints
            ],
            "metrics": describe_metrics(training, times, startup_s),
            "calls": [[steps, round(seconds, 6)] for steps, seconds in training.calls],
        },
    )
    return 0 if accuracy.is_enough else 1


def introduction(dataset: DataSet, steps: int, setup: Setup) -> str:
    """Return one line on what will run."""
    parts = "" if setup.shards == 1 else f", each batch in {setup.shards} parts on {setup.threads} cores"
    return f"{TITLES[dataset.name]}, {steps} steps on {setup.device}, network {setup.network}{parts}"


def describe_workload(options: argparse.Namespace, setup: Setup) -> dict[str, Any]:
    """Return what defines the work: runs with equal workload and data set may be compared."""
    return {
        "steps": options.steps,
        "batch": BATCH,
        "hidden": HIDDEN,
        "learning_rate": LEARNING_RATE,
        "seed": options.seed,
        "network": setup.network,
    }


if __name__ == "__main__":
    sys.exit(main())
