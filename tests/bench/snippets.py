"""Runs a program that a report gives out in a process of its own, as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

MEASURED = "measured.npz"

_SCIKIT_LEARN = f"""

import numpy as np
from sklearn.metrics import log_loss

fitted = getattr(model, "regressor_", model)
if hasattr(fitted, "predict_proba"):
    loss = log_loss(y_train, fitted.predict_proba(X_train))
else:
    loss = 0.5 * np.mean(((y_train - model.predict(X_train)) / np.std(y_train)) ** 2)
X, X_held_out = fitted[0].transform(X_train), fitted[0].transform(X_test)
np.savez("{MEASURED}", loss=loss, X_train=X, X_test=X_held_out, passes=fitted[-1].n_iter_)
"""
_PYTORCH = f"""

import numpy as np

np.savez("{MEASURED}", loss=train_loss, X_train=x, X_test=x_test, passes=number)
"""


def run_snippet(code: str, cwd: Path) -> dict[str, Any]:
    """Run a program for an own table; return what it did.

    Parameters
    ----------
    code
        Of `bench.report.settings`.
    cwd
        Where it runs, and leaves a file of results.

    Returns
    -------
    dict
        `loss` (on the whole training split, after the last pass; of a regression half the squared
        error of the standardized target), `passes` (over the data that were made), `X_train` and
        `X_test` (features as the program prepared them), `printed` (what the user sees).
    """
    path = cwd / "program.py"
    path.write_text(code + (_PYTORCH if "import torch" in code else _SCIKIT_LEARN), "utf-8")
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-W", "error", path.name],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    with np.load(cwd / MEASURED) as file:
        found = {name: file[name] for name in file.files}
    scalars = {"loss": float(found["loss"]), "passes": int(found["passes"])}
    return found | scalars | {"printed": done.stdout}
