"""Runs a program that a report gives out in a process of its own, as a user would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

MEASURED = "measured.npz"

# Does the same training again, and looks at the loss whenever scikit-learn does
_SCIKIT_LEARN = f"""

import numpy as np
from sklearn.base import clone
from sklearn.metrics import log_loss

fitted = getattr(model, "regressor_", model)
X, X_held_out = fitted[0].transform(X_train), fitted[0].transform(X_test)
classifies = hasattr(fitted, "predict_proba")
y = y_train if classifies else (y_train.to_numpy() - y_train.mean()) / np.std(y_train)
estimator, losses = type(fitted[-1]), []
count = estimator._update_no_improvement_count


def watch(self, *arguments, **named):
    if classifies:
        losses.append(log_loss(y, self.predict_proba(X)))
    else:
        losses.append(0.5 * np.mean((y - self.predict(X)) ** 2))
    return count(self, *arguments, **named)


estimator._update_no_improvement_count = watch
again = clone(fitted[-1]).fit(X, y)
np.testing.assert_allclose(again.coefs_[0], fitted[-1].coefs_[0], rtol=1e-6)
np.savez("{MEASURED}", losses=losses, X_train=X, X_test=X_held_out)
"""
_PYTORCH = f"""

import numpy as np

np.savez("{MEASURED}", losses=[], X_train=x, X_test=x_test)
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
        `losses` (on the whole training split after each pass; of a regression half the squared
        error of the standardized target), `X_train` and `X_test` (features as the program prepared
        them), `printed` (what the user sees).
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
        found: dict[str, Any] = {name: file[name] for name in file.files}
    told = re.findall(r"training loss (\S+?),?\s", done.stdout)
    losses = [float(text) for text in told] or found["losses"].tolist()
    return found | {"losses": losses, "printed": done.stdout}
