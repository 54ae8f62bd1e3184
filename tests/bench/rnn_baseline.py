"""Usage: rnn_baseline.py --data FOLDER [--steps 2000] [--output FOLDER] [--seed N].

The same network as appliance/benchmarks/rnn.py, written as in 2018: a TensorFlow 1 graph with 28 cells,
one `sess.run` per step with a batch fed from the host, TensorFlow's default threads. Starts from the same
weights and takes the same batches, so that only the formulation differs. Writes baseline.json.
"""

from __future__ import annotations

import json
import time
from typing import Any

from appliance.benchmarks import rnn


def build(tf: Any, start: rnn.Weights) -> dict[str, Any]:
    """Build the graph: placeholders, one step, loss and accuracy."""
    images = tf.compat.v1.placeholder(tf.float32, [None, rnn.ROWS, rnn.PIXELS])
    labels = tf.compat.v1.placeholder(tf.float32, [None, rnn.CLASSES])
    weights = [start.kernel, start.bias, start.output_kernel, start.output_bias]
    kernel, bias, output_kernel, output_bias = (tf.compat.v1.Variable(value) for value in weights)

    state = memory = tf.zeros([tf.shape(images)[0], rnn.HIDDEN])
    for row in tf.unstack(images, rnn.ROWS, axis=1):
        gates = tf.nn.bias_add(tf.matmul(tf.concat([row, state], axis=1), kernel), bias)
        new, candidate, forget, output = tf.split(gates, 4, axis=1)
        memory = memory * tf.sigmoid(forget + rnn.FORGET_BIAS) + tf.sigmoid(new) * tf.tanh(candidate)
        state = tf.tanh(memory) * tf.sigmoid(output)
    logits = tf.matmul(state, output_kernel) + output_bias

    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    hits = tf.equal(tf.argmax(tf.nn.softmax(logits), 1), tf.argmax(labels, 1))
    step = tf.compat.v1.train.GradientDescentOptimizer(rnn.LEARNING_RATE).minimize(loss)
    accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
    return {"images": images, "labels": labels, "step": step, "loss": loss, "accuracy": accuracy}


def train(session: Any, graph: dict[str, Any], examples: rnn.Examples, order: Any) -> rnn.Training:
    """Run one step per row of `order`."""
    checkpoints, calls = [], []
    for number, batch in enumerate(order, start=1):
        began_s = time.perf_counter()
        feed = {graph["images"]: examples.images[batch], graph["labels"]: examples.labels[batch]}
        session.run(graph["step"], feed)
        calls.append((1, time.perf_counter() - began_s))
        if number % rnn.DISPLAY_STEP == 0 or number == 1:
            loss, accuracy = session.run([graph["loss"], graph["accuracy"]], feed)
            checkpoints.append((number, float(loss), float(accuracy)))
            print(rnn.transcript_line(*checkpoints[-1]), flush=True)
    return rnn.Training(checkpoints, calls)


def main() -> None:
    """Train, and write speed and accuracies."""
    options = rnn.parse_options()
    examples, test = rnn.read_examples(rnn.load_dataset(options.data))
    order = rnn.batch_order(options.steps, len(examples.images), options.seed)
    with rnn.stderr_in(options.output / "tensorflow.log"):
        import tensorflow as tf

        tf.compat.v1.disable_eager_execution()
        graph = build(tf, rnn.initial_weights(options.seed))
        session = tf.compat.v1.Session()
        session.run(tf.compat.v1.global_variables_initializer())
    training = train(session, graph, examples, order)
    feed = {graph["images"]: test.images, graph["labels"]: test.labels}
    result = {
        "accuracy": {"all": float(session.run(graph["accuracy"], feed))},
        "checkpoints": [
            {"step": step, "loss": loss, "accuracy": share} for step, loss, share in training.checkpoints
        ],
        "metrics": rnn.describe_metrics(training, rnn.process_times(), 0.0),
        "calls": training.calls,
    }
    (options.output / "baseline.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
