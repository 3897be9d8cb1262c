"""Plant errors, one at a time, in a copy of the repository, and show that the tests catch each.

    make mutants                        all of them, some minutes: each one compiles its kernels
    python -m tests.mutants ReLU order  those whose names hold one of these words

Exit code 0: every error was caught; 1: some survived; 2: a mutant, or the repository itself, is not
as this file expects it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("kernels", "bench", "tests", "conftest.py", "pyproject.toml")
TIME_LIMIT = 600  # seconds of one run of tests
# What a mutant that cannot even be compiled or collected leaves behind: it proves nothing
BROKEN = re.compile(
    r"TypingError|LoweringError|SyntaxError|NameError|ImportError|UnboundLocalError"
)


class Mutant(NamedTuple):
    """One planted error: a text that stands in a file exactly once, what replaces it, the tests."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


class Outcome(NamedTuple):
    """What became of a mutant: "caught", "SURVIVED" or "broken", by which test, in what time."""

    mutant: Mutant
    verdict: str
    detail: str
    seconds: float


ENGINES = "tests/kernels/test_engines.py::"
RULES = "tests/kernels/test_rules.py::"
BITS = "tests/kernels/test_stability_of_bits.py::"
TRAIN = "tests/kernels/test_train.py::"
PEERS = "tests/bench/test_peers.py::"

GRADIENTS = [
    Mutant(
        "bias gradient missing",
        "kernels/backward.py",
        "b = b + load(delta.data, delta.start + s * delta.row + j)",
        "b = b",
        (ENGINES + "test_slope_of_relu_at_zero_is_zero",),
    ),
    Mutant(
        "averaged error back-propagated (C5)",
        "kernels/backward.py",
        "    store(poison, 0, sick)\n",
        """    store(poison, 0, sick)
    for p in range(logits.start, logits.start + logits.row, lanes(A)):
        mean = splat(A, 0.0)
        for s in range(count):
            mean = mean + load(work.D, p + s * logits.row) * splat(A, 1.0 / count)
        for s in range(count):
            store(work.D, p + s * logits.row, mean)
""",
        (ENGINES + "test_averaging_the_errors_first_is_not_what_training_does",),
    ),
    Mutant(
        "delta from weights already updated",
        "kernels/chunk.py",
        "            add_gradient_behind_first(layout, P, work, (first, size))\n",
        """            add_gradient_behind_first(layout, P, work, (first, size))
            deltas(layout, P, work, (first, size), factor, poison)
""",
        (ENGINES + "test_look_ahead_is_the_step_by_step_loop[16-True-rule0-2-16-block]",),
    ),
    Mutant(
        "delta from weights already updated (batch size 1)",
        "kernels/steps.py",
        "c0 = fma(left, take(step, P, place(W, k, j), left, r0)[0], c0)\n        store",
        "c0 = fma(left, take(step, P, place(W, k, j), left, r0)[1], c0)\n        store",
        (ENGINES + "test_a_hidden_layer_is_trained_with_the_weights_before_the_update",),
    ),
    Mutant(
        "the next sample meets weights of before the step",
        "kernels/steps.py",
        "after = take(step, W.data, place(W, k + 1, j), element(X, 0, k + 1), right)[1]",
        "after = take(step, W.data, place(W, k + 1, j), element(X, 0, k + 1), right)[0]",
        (ENGINES + "test_look_ahead_is_the_step_by_step_loop[18-False-rule4-1-16-block]",),
    ),
    Mutant(
        "velocity forgotten by look-ahead",
        "kernels/chunk.py",
        "            _scale(work.D, velocity.start, stop, splat(P, carried[number]))\n",
        "            _scale(work.D, velocity.start, stop, splat(P, 0.0))\n",
        (ENGINES + "test_look_ahead_is_the_step_by_step_loop[18-True-rule3-2-16-block]",),
    ),
    Mutant(
        "gradients of a chunk weighed alike in the velocity",
        "kernels/chunk.py",
        "minus_eta * splat(P, kept[age]), splat(P, power[age])",
        "minus_eta * splat(P, kept[age]), splat(P, power[0])",
        (ENGINES + "test_look_ahead_is_the_step_by_step_loop[18-True-rule3-2-23-block]",),
    ),
    Mutant(
        "Nesterov looks ahead as momentum does",
        "kernels/updates.py",
        "return np.stack([power, 1 + rule.beta * sums, rule.beta * (sums - 1)])",
        "return np.stack([power, sums, sums - 1])",
        (RULES + "test_weights_of_look_ahead_are_the_rule_unrolled[rule1]",),
    ),
    Mutant(
        "ragged batch divided by B (look-ahead)",
        "kernels/epoch.py",
        "-1.0 / max(1, count % size)",
        "-1.0 / size",
        (ENGINES + "test_the_ragged_last_batch_is_averaged_over_its_own_size",),
    ),
    Mutant(
        "ragged batch divided by B (summed up)",
        "kernels/epoch.py",
        "scale = splat(P, 1.0 / (batch_stop - t % m))",
        "scale = splat(P, 1.0 / plan.batch_size)",
        (TRAIN + "test_an_order_may_repeat_and_leave_out_samples[5-momentum-single]",),
    ),
    Mutant(
        "sum for mean (summed up)",
        "kernels/epoch.py",
        "scale = splat(P, 1.0 / (batch_stop - t % m))",
        "scale = splat(P, 1.0)",
        (ENGINES + "test_a_sum_of_gradients_is_the_mean_at_b_times_the_rate[24-single]",),
    ),
    Mutant(
        "sum for mean (look-ahead)",
        "kernels/epoch.py",
        "scale = eta * splat(group.P, -1.0 / size)",
        "scale = eta * splat(group.P, -1.0)",
        (ENGINES + "test_a_sum_of_gradients_is_the_mean_at_b_times_the_rate[4-single]",),
    ),
    Mutant(
        "ReLU'(0) = 1",
        "kernels/activations.py",
        "return where_less(z, splat(z, 0.0), splat(z, 0.0), z)",
        "zero = splat(z, 0.0)\n"
        "    lifted = where_less_equal(zero, z, splat(z, 1e-40), zero)\n"
        "    return where_less_equal(z, zero, lifted, z)",
        (ENGINES + "test_slope_of_relu_at_zero_is_zero",),
    ),
    Mutant(
        "ReLU of NaN is 0",
        "kernels/activations.py",
        "return where_less(z, splat(z, 0.0), splat(z, 0.0), z)",
        "return where_less(splat(z, 0.0), z, z, splat(z, 0.0))",
        (BITS + "test_nan_parameters_stay_and_are_told",),
    ),
    Mutant(
        "tanh' = 1 - a",
        "kernels/activations.py",
        "return delta * ((one - a) * (one + a))",
        "return delta * (one - a)",
        (ENGINES + "test_gradient_is_the_slope_of_the_loss",),
    ),
    Mutant(
        "Gram matrix without the bias's one",
        "kernels/chunk.py",
        "work.gram[t * CHUNK + s] = first_lane(lane_sum(product)) + 1",
        "work.gram[t * CHUNK + s] = first_lane(lane_sum(product))",
        (ENGINES + "test_look_ahead_is_the_step_by_step_loop",),
    ),
]

UNROLLED = [
    Mutant(
        "unrolled: ragged batch divided by B",
        "kernels/unrolled.py",
        "scale = _times(eta, -1.0 / count)",
        "scale = _times(eta, -1.0 / size)",
        ("tests/kernels/test_unrolled.py::test_an_unrolled_network_ends_where_the_reference_does",),
    ),
    Mutant(
        "unrolled: each sample of a batch moves the weights of the next",
        "kernels/unrolled.py",
        "T, sick = _step(small, W, T, data, order.indices[s], scale, sick)",
        "T, sick = _step(small, T, T, data, order.indices[s], scale, sick)",
        ("tests/kernels/test_unrolled.py::test_an_unrolled_network_ends_where_the_reference_does",),
    ),
    Mutant(
        "unrolled: groups beyond a multiple of three are left out",
        "kernels/unrolled.py",
        "for g in range(0, n_groups, GROUPS):",
        "for g in range(0, n_groups - GROUPS + 1, GROUPS):",
        ("tests/kernels/test_unrolled.py::test_any_number_of_groups_has_the_same_bits",),
    ),
    Mutant(
        "unrolled: an infinite logit is forgotten",
        "kernels/unrolled.py",
        "poison = code.fma(z, zero, poison)",
        "poison = code.fma(zero, zero, poison)",
        ("tests/kernels/test_unrolled.py::test_an_infinite_logit_is_seen_and_stays",),
    ),
]

LOSSES = [
    Mutant(
        "softmax without its maximum",
        "kernels/losses.py",
        """        z = load(A, at + k * lanes(A))
        largest = where_less(largest, z, z, largest)
    return largest""",
        """        z = load(A, at + k * lanes(A))
        largest = where_less(largest, z, z, largest)
    return splat(A, 0.0)""",
        (ENGINES + "test_a_step_from_logits_of_10000[softmax-ce-float64-block]",),
    ),
    Mutant(
        "loss from the logarithm of probabilities",
        "kernels/losses.py",
        "return where_less(z, zero, zero, z) - y * z + log1p(e)",
        "p = where_less(z, zero, tail, splat(z, 1.0) - tail)\n"
        "    return zero - y * log(p) - (splat(z, 1.0) - y) * log(splat(z, 1.0) - p)",
        (
            ENGINES + "test_a_confident_right_answer_has_a_loss_above_zero",
            ENGINES + "test_logits_of_10000_give_the_right_loss_and_gradient",
        ),
    ),
    Mutant(
        "padded outputs take part in the softmax",
        "kernels/layout.py",
        "packed[:, packing.padding] =",
        "packed[:, :0] =",
        (
            ENGINES + "test_logits_of_10000_give_the_right_loss_and_gradient",
            ENGINES + "test_functions_agree_with_the_reference",
        ),
    ),
    Mutant(
        "losses summed in float32",
        "kernels/functional.py",
        "totals = np.zeros((len(packed), 2, packing.lanes))",
        "totals = np.zeros((len(packed), 2, packing.lanes), values.dtype)",
        (ENGINES + "test_float32_loss_over_100000_samples",),
    ),
    Mutant(
        "exp loses its subnormal results",
        "kernels/vector.py",
        "types.float64: (-746.0, 710.5)",
        "types.float64: (-708.0, 710.5)",
        ("tests/kernels/test_vector.py",),
    ),
]

UPDATES = [
    Mutant(
        "wrong correction for beta2",
        "kernels/updates.py",
        "(1.0 - rule.beta2**number) ** -0.5",
        "(1.0 - rule.beta1**number) ** -0.5",
        (RULES + "test_three_steps_of_each_rule_by_hand[rule3-expected3-float64-single]",),
    ),
    Mutant(
        "Adam's epsilon before the bias correction",
        "kernels/updates.py",
        "fma(square_root(v), step.spread, step.epsilon)",
        "(step.spread * (square_root(v) + step.epsilon))",
        (RULES + "test_three_steps_of_each_rule_by_hand[rule3-expected3-float64-single]",),
    ),
    Mutant(
        "Nesterov without the look-ahead term",
        "kernels/updates.py",
        "w - step.eta * fma(step.beta, v, g)",
        "w - step.eta * v",
        (RULES + "test_three_steps_of_each_rule_by_hand[rule2-expected2-float64-single]",),
    ),
    Mutant(
        "the order is off by one",
        "kernels/epoch.py",
        """        gather(data, part(order.indices, t, count), work, 0)
        if count > size:
            fill_gram(work, count, size)
        last""",
        """        gather(data, part(order.indices, max(0, t - 1), count), work, 0)
        if count > size:
            fill_gram(work, count, size)
        last""",
        (TRAIN + "test_trajectory_is_the_references_at_the_checkpoints_updates",),
    ),
    Mutant(
        "each epoch in the order of the first",
        "kernels/train.py",
        "[before.epochs :]",
        "[before.epochs :][:1].repeat(epochs, axis=0)",
        (TRAIN + "test_every_seed_starts_at_its_own_order",),
    ),
]

CALLS = [
    Mutant(
        "state not continued",
        "kernels/train.py",
        "if state is None else state.slots",
        "if state is None else np.zeros_like(state.slots)",
        (BITS + "test_two_epochs_then_three_more_are_five[1-momentum-single]",),
    ),
    Mutant(
        "Adam's count of steps starts again",
        "kernels/train.py",
        "planned = (*stretch, task.before.updates, task.plan)",
        "planned = (*stretch, 0, task.plan)",
        (BITS + "test_two_epochs_then_three_more_are_five[1-adam-single]",),
    ),
    Mutant(
        "divergence forgotten by the state",
        "kernels/train.py",
        "poison[np.atleast_1d(state.diverged)] = np.nan",
        "pass",
        (BITS + "test_diverged_stays_through_a_state",),
    ),
    Mutant(
        "divergence judged by the last parameters",
        "kernels/engine.py",
        "return np.asarray(np.isfinite(vectors).all(axis=1) & np.isfinite(poison))",
        "return np.asarray(np.isfinite(vectors).all(axis=1))",
        (BITS + "test_a_run_that_was_once_non_finite_stays_diverged[block]",),
    ),
    Mutant(
        "a checkpoint cuts a chunk",
        "kernels/train.py",
        "boundary = epoch * m + within // chunk * chunk",
        "boundary = point",
        (BITS + "test_checkpoints_change_no_bit[1-sgd-single]",),
    ),
    Mutant(
        "labels unchecked",
        "kernels/checks.py",
        "wrong = (classes < 0) | (classes >= k) | (classes != np.floor(classes))",
        "wrong = classes >= k",
        ("tests/kernels/test_checks.py::test_class_errors",),
    ),
    Mutant(
        "negative indices in the order",
        "kernels/checks.py",
        "if values.size and (values.min() < 0 or values.max() >= n):",
        "if values.size and values.max() >= n:",
        ("tests/kernels/test_checks.py::test_order_errors",),
    ),
    Mutant(
        "the cache overlooks edits in other files",
        "kernels/jit.py",
        'digest.update(path.name.encode() + b"\\0" + path.read_bytes() + b"\\0")',
        'digest.update(path.name.encode() + b"\\0")',
        ("tests/kernels/test_cache.py::test_an_edit_in_another_file_is_noticed",),
    ),
    Mutant(
        "parts of memory unchecked under NUMBA_BOUNDSCHECK",
        "kernels/memory.py",
        "if config.BOUNDSCHECK:  # a part may be empty",
        "if False:  # a part may be empty",
        ("tests/kernels/test_boundscheck.py::test_planted_accesses_outside_are_refused",),
    ),
]

STUDIES = [
    Mutant(
        "test data in the standardization",
        "bench/problems/prepare.py",
        "mean = train.mean(axis=0)",
        "mean = np.concatenate([train, test]).mean(axis=0)",
        ("tests/bench/test_problems.py",),
    ),
    Mutant(
        "one lucky loss is a hit",
        "bench/analysis/outcomes.py",
        "pairs = below[..., :-1] & below[..., 1:]",
        "pairs = below[..., :-1]",
        ("tests/bench/test_outcomes.py",),
    ),
    Mutant(
        "a diverged run counts as reached",
        "bench/analysis/outcomes.py",
        'f"hit_{k}": np.where(diverged, np.inf, first_hit(result.examples, result.loss, target))',
        'f"hit_{k}": first_hit(result.examples, result.loss, target)',
        ("tests/bench/test_outcomes.py",),
    ),
    Mutant(
        "rates picked on reporting seeds",
        "bench/analysis/time_to_target.py",
        'tuning = each_run_once(outcomes[outcomes.role == "tune"])',
        "tuning = each_run_once(outcomes)",
        ("tests/bench/test_time_to_target.py",),
    ),
    Mutant(
        "the linear protocol divides by B",
        "bench/analysis/time_to_target.py",
        "rate[base] * b / base",
        "rate[base] * base / b",
        ("tests/bench/test_time_to_target.py",),
    ),
    Mutant(
        "the median passes over runs that never reach the target",
        "bench/analysis/intervals.py",
        "np.where(np.isinf(upper), np.inf, np.sqrt(lower * upper))",
        "np.where(np.isinf(upper), lower, np.sqrt(lower * upper))",
        ("tests/bench/test_intervals.py",),
    ),
    Mutant(
        "resamples of few seeds are believed as they are",
        "bench/analysis/intervals.py",
        "if reflected and n < FEW and",
        "if n < 0 and",
        ("tests/bench/test_intervals.py", "tests/bench/test_calibrate.py"),
    ),
    Mutant(
        "shares compared as if the arms had other seeds",
        "bench/analysis/intervals.py",
        "share_interval(a & ~b, clusters), share_interval(b & ~a, clusters)",
        "share_interval(a, clusters), share_interval(b, clusters)",
        ("tests/bench/test_intervals.py",),
    ),
    Mutant(
        "resamples that miss a median count for the trade-off",
        "bench/analysis/tradeoff.py",
        "s_min[missed] = e_min[missed] = np.nan",
        "s_min[missed] = e_min[missed] = s_min[0]",
        ("tests/bench/test_tradeoff.py",),
    ),
    Mutant(
        "least updates below 0 are divided by",
        "bench/analysis/tradeoff.py",
        "where=s_min > 0",
        "where=s_min != 0",
        ("tests/bench/test_tradeoff.py",),
    ),
    Mutant(
        "the fastest batch size upside down",
        "bench/analysis/tradeoff.py",
        "np.divide(c0, c1)",
        "np.divide(c1, c0)",
        ("tests/bench/test_tradeoff.py",),
    ),
    Mutant(
        "the lack-of-fit test looks at the wrong side",
        "bench/analysis/tradeoff.py",
        "apart >= (errors**2).sum()",
        "apart <= (errors**2).sum()",
        ("tests/bench/test_tradeoff.py",),
    ),
    Mutant(
        "an interval that lies above the truth counts as holding it",
        "bench/calibration/run.py",
        "((low <= case.true_value) & (case.true_value <= high))",
        "(case.true_value <= high)",
        ("tests/bench/test_calibrate.py",),
    ),
    Mutant(
        "a verdict without the margin",
        "bench/analysis/intervals.py",
        "if low > margin:",
        'if low > (1.0 if kind == "ratio" else 0.0):',
        ("tests/bench/test_intervals.py",),
    ),
    Mutant(
        "reported from tuning seeds",
        "bench/analysis/arms.py",
        'def of(self, arm: Arm, role: str = "report")',
        'def of(self, arm: Arm, role: str = "tune")',
        ("tests/bench/test_time_to_target.py",),
    ),
    Mutant(
        "noise scale without the noise of the mean gradient",
        "bench/analysis/noise_scale.py",
        "signal = norm2 - s2 / n",
        "signal = norm2",
        ("tests/bench/test_noise_scale.py",),
    ),
    Mutant(
        "resamples held against an unbiased truth",
        "bench/analysis/noise_scale.py",
        "truth = norm2 / (squares.sum() / n - norm2)",
        "truth = value",
        ("tests/bench/test_noise_scale.py",),
    ),
    Mutant(
        "noise of batches drawn with replacement",
        "bench/analysis/noise.py",
        "predicted = s2 / batch_size * (1.0 - batch_size / n)",
        "predicted = s2 / batch_size",
        ("tests/bench/test_noise.py::test_variance_formula_against_all_batches",),
    ),
    Mutant(
        "every second seed tunes",
        "bench/experiments/plan.py",
        'return "tune" if seed % 3 == 0 else "report"',
        'return "tune" if seed % 2 == 0 else "report"',
        ("tests/bench/test_plan.py",),
    ),
    Mutant(
        "results outlive the kernels that made them",
        "bench/experiments/block.py",
        "            kernels.KERNEL_HASH,\n",
        "",
        ("tests/bench/test_plan.py",),
    ),
    Mutant(
        "another block's file is believed",
        "bench/experiments/store.py",
        'if str(arrays["key"]) != key:',
        "if False:",
        ("tests/bench/test_store.py",),
    ),
]

ROOFS = "tests/bench/test_roofline.py::"
ROOFLINE = [
    Mutant(
        "roofline: look-ahead moves the upper layers as often as step by step",
        "bench/speed/traffic.py",
        "once = 2 * kept / plan.span",
        "once = 2 * kept / batch_size",
        (ROOFS + "test_bytes_are_those_counted_by_hand",),
    ),
    Mutant(
        "roofline: bytes from farther away do not pass the nearer levels",
        "bench/speed/traffic.py",
        "if level >= place",
        "if level == place",
        (ROOFS + "test_further_visits_come_from_the_level_that_holds_them",),
    ),
    Mutant(
        "roofline: the highest roof is taken for the nearest",
        "bench/speed/traffic.py",
        "roof = min(allowed",
        "roof = max(allowed",
        (ROOFS + "test_the_nearest_roof_is_the_lowest",),
    ),
]

SIDE_BY_SIDE = [
    Mutant(
        "ratio of medians for the median of ratios",
        "bench/report/standings.py",
        "median_interval(times[program] / times[best] if best else [])",
        "median_interval(times[program] / times[best].median() if best else [])",
        (PEERS + "test_ratios_are_taken_round_by_round",),
    ),
    Mutant(
        "our engine counted among the peers",
        "bench/report/standings.py",
        "if name in PEERS and name != OURS",
        "if name in PEERS",
        (PEERS + "test_the_best_peer_is_neither_ours_nor_the_users",),
    ),
    Mutant(
        "an own kernel looked at in its first run alone",
        "bench/speed/side_by_side.py",
        "dict.fromkeys((0, len(starts) - 1))",
        "dict.fromkeys((0,))",
        (PEERS + "test_the_reference_is_reached_by_ours_alone",),
    ),
    Mutant(
        "programs compared whatever they end at",
        "bench/speed/seconds.py",
        "if not (apart := distance(params, ours, start)) < AGREEMENT:",
        "if (apart := distance(params, ours, start)) < 0:",
        (PEERS + "test_a_program_that_ends_elsewhere_is_named",),
    ),
]
MUTANTS = [
    *GRADIENTS, *UNROLLED, *LOSSES, *UPDATES, *CALLS, *STUDIES, *ROOFLINE, *SIDE_BY_SIDE,
]  # fmt: skip


class UnexpectedError(Exception):
    """The repository is not as this file expects it."""


def plant(mutant: Mutant, folder: Path) -> None:
    """Write the mutant into a copy of the repository.

    Raises
    ------
    UnexpectedError
        Where the old text does not stand in the file exactly once.
    """
    text = (ROOT / mutant.file).read_text()
    if (count := text.count(mutant.old)) != 1:
        raise UnexpectedError(
            f"{mutant.name}: {mutant.file} has its text {count} times, not once:\n{mutant.old}"
        )
    (folder / mutant.file).write_text(text.replace(mutant.old, mutant.new))


def copy_repository(folder: Path) -> Path:
    """Copy what tests need into a folder."""
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        else:
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run_tests(folder: Path, tests: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Run tests in a copy, which has its own cache of compiled kernels, up to the first failure."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *tests],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_LIMIT,
    )


def judge(mutant: Mutant, folder: Path) -> Outcome:
    """Run a mutant's tests on it in a copy, and put the copy right again."""
    start = time.perf_counter()
    plant(mutant, folder)
    try:
        done = run_tests(folder, mutant.tests)
    finally:
        shutil.copy2(ROOT / mutant.file, folder / mutant.file)
    seconds = time.perf_counter() - start
    failed = re.search(r"^FAILED (.+?)(?: - |$)", done.stdout, re.MULTILINE)
    broken = BROKEN.search(done.stdout)
    if done.returncode == 0:
        return Outcome(mutant, "SURVIVED", " ".join(mutant.tests), seconds)
    if done.returncode != 1 or failed is None or broken:
        reason = broken.group() if broken else done.stdout.strip().rpartition("\n")[2]
        return Outcome(mutant, "broken", reason, seconds)
    return Outcome(mutant, "caught", failed.group(1).removeprefix("tests/"), seconds)


def judge_all(mutants: list[Mutant], folders: list[Path]) -> Iterator[Outcome]:
    """Judge mutants in as many copies as there are folders; outcomes in the mutants' order."""
    free: SimpleQueue[Path] = SimpleQueue()
    for folder in folders:
        free.put(folder)

    def judge_one(mutant: Mutant) -> Outcome:
        folder = free.get()
        try:
            return judge(mutant, folder)
        finally:
            free.put(folder)

    with ThreadPoolExecutor(len(folders)) as pool:
        yield from pool.map(judge_one, mutants)


def check_repository(mutants: list[Mutant], folders: list[Path]) -> None:
    """Make sure that each text is found and that all tests pass where nothing is planted.

    Raises
    ------
    UnexpectedError
        With what is wrong.
    """
    for mutant in mutants:
        plant(mutant, folders[0])
        shutil.copy2(ROOT / mutant.file, folders[0] / mutant.file)
    parts = [mutants[k :: len(folders)] for k in range(len(folders))]
    tests = [dict.fromkeys(test for mutant in part for test in mutant.tests) for part in parts]
    with ThreadPoolExecutor(len(folders)) as pool:
        for done in pool.map(run_tests, folders, tests):
            if done.returncode != 0:
                raise UnexpectedError(
                    f"the tests fail where nothing is planted:\n{done.stdout[-3000:]}"
                )


def main(words: list[str]) -> int:
    """Judge the mutants whose names hold one of the words, print a table: the exit code."""
    mutants = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        n_copies = max(1, min(os.cpu_count() or 1, len(mutants)))
        folders = [copy_repository(Path(temporary) / str(k)) for k in range(n_copies)]
        try:
            check_repository(mutants, folders)
        except UnexpectedError as error:
            print(error, file=sys.stderr)
            return 2
        print(f"{len(mutants)} mutants; without them all tests pass", flush=True)
        verdicts = []
        for outcome in judge_all(mutants, folders):
            verdicts.append(outcome.verdict)
            print(
                f"{outcome.mutant.name:56} {outcome.verdict:8} {outcome.seconds:4.0f} s  "
                f"{outcome.detail}",
                flush=True,
            )
    minutes = (time.perf_counter() - start) / 60
    print(f"{verdicts.count('caught')} of {len(verdicts)} caught, in {minutes:.1f} minutes")
    if "broken" in verdicts:
        return 2
    return int("SURVIVED" in verdicts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
