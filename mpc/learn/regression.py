"""A fitted regression: coefficients, their uncertainty, predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError
from mpc.learn.archive import FittedModel
from mpc.learn.data import ArrayRows, Rows
from mpc.learn.design import Design, LevelColumns, LocalRows, load_rows
from mpc.learn.families import Bernoulli
from mpc.learn.inference import normal_quantile, normal_two_sided, student_quantile, student_two_sided

__all__ = ["RegressionModel"]

_STRETCH = 8192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegressionModel(FittedModel):
    """A linear, logistic or Poisson regression."""

    kind: ClassVar[str] = "regression"

    family: str
    """`gaussian`, `bernoulli` or `poisson`."""

    design: Design
    beta: NDArray[np.float64]
    """Coefficients of the standardised design, the intercept first."""

    covariance: NDArray[np.float64]
    """Of `beta`: inverse of the (penalised) Hessian, times the residual variance for `gaussian`."""

    active: NDArray[np.bool_]
    """False for columns that are linear combinations of earlier ones; their coefficients are 0."""

    target: str
    rows: int
    left_out: int
    regularization: float
    loss: float
    """Negative log-likelihood; for `gaussian` the residual sum of squares."""

    degrees: int | None
    """Residual degrees of freedom (`gaussian`): tests use Student's distribution."""

    rounds: int
    converged: bool
    r_squared: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients, without the intercept."""
        return self.design.names

    @property
    def intercept(self) -> float:
        """Intercept for columns as they are in the table (after their declared transform)."""
        return float((self.design.unscaling() @ self.beta)[0])

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients for columns as they are in the table (after their declared transform)."""
        return dict(zip(self.names, (self.design.unscaling() @ self.beta)[1:].tolist(), strict=True))

    @property
    def standardized_coefficients(self) -> dict[str, float]:
        """Coefficients of the standardised columns."""
        return dict(zip(self.names, self.beta[1:].tolist(), strict=True))

    @property
    def aliased(self) -> tuple[str, ...]:
        """Columns left out because earlier ones determine them."""
        return tuple(n for n, kept in zip(self.names, self.active[1:], strict=True) if not kept)

    def _errors(self) -> NDArray[np.float64]:
        if self.regularization > 0:
            raise ParameterError("a penalised estimate is biased: it has no standard errors; fit with regularization 0")
        scaling = self.design.unscaling()
        errors: NDArray[np.float64] = np.sqrt((scaling @ self.covariance @ scaling.T).diagonal())
        return np.where(self.active, errors, np.nan)

    def _named(self, values: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(("intercept", *self.names), values.tolist(), strict=True))

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard errors of `intercept` and `coefficients` (unpenalised fits)."""
        return self._named(self._errors())

    @property
    def p_values(self) -> dict[str, float]:
        """Two-sided Wald tests (t tests for `gaussian`) that a coefficient is zero."""
        ratio = (self.design.unscaling() @ self.beta) / self._errors()
        if self.degrees is None:
            return self._named(normal_two_sided(ratio))
        return self._named(student_two_sided(ratio, self.degrees))

    def confidence_intervals(self, confidence: float = 0.95) -> dict[str, tuple[float, float]]:
        """Wald intervals of `intercept` and `coefficients`."""
        degrees = self.degrees
        width = normal_quantile(confidence) if degrees is None else student_quantile(confidence, degrees)
        center, half = self.design.unscaling() @ self.beta, width * self._errors()
        pairs = zip((center - half).tolist(), (center + half).tolist(), strict=True)
        return dict(zip(("intercept", *self.names), pairs, strict=True))

    def predict(self, data: Rows | Mapping[str, Any]) -> NDArray[np.float64]:
        """Expected target of every complete row: a probability, a count, or a value.

        Args:
            data: Rows, or a mapping of columns. Unknown levels count as the reference.
        """
        rows = ArrayRows(data) if isinstance(data, Mapping) else data
        return self.predict_local(load_rows(self.design.features(), None, None, rows, held_out=False))

    def predict_local(self, local: LocalRows) -> NDArray[np.float64]:
        """Expected target of rows already read."""
        design, out = self.design.rows_of(local), np.empty(local.count)
        for start in range(0, len(design), _STRETCH):
            eta = design.read(start, start + _STRETCH) @ self.beta
            if self.family == "bernoulli":
                eta = Bernoulli().mean(eta)
            out[start : start + _STRETCH] = np.exp(eta) if self.family == "poisson" else eta
        return out

    def numbers(self) -> dict[str, NDArray[Any]]:
        """Coefficients, covariance and active columns."""
        return {"beta": self.beta, "covariance": self.covariance, "active": self.active}

    def description(self) -> dict[str, Any]:
        """Everything else."""
        fields = ("family", "target", "rows", "left_out", "regularization", "loss", "degrees", "rounds", "converged")
        out: dict[str, Any] = {name: getattr(self, name) for name in (*fields, "r_squared")}
        return out | {"design": msgspec.to_builtins(self.design)}

    @classmethod
    def rebuild(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Self:
        """Build the model back."""
        fields = dict(description)
        design = msgspec.convert(fields.pop("design"), type=Design)
        active = arrays["active"]
        return cls(design=design, beta=arrays["beta"], covariance=arrays["covariance"], active=active, **fields)

    def explain(self) -> str:
        """What the model is."""
        words = {"bernoulli": "Logistic", "poisson": "Poisson", "gaussian": "Linear"}
        levels = sum(len(b.levels) for b in self.design.blocks if isinstance(b, LevelColumns))
        head = (
            f"{words[self.family]} regression of {self.target} on {len(self.names)} columns ({levels} of them levels), "
            f"{self.rows} rows, {self.left_out} incomplete rows left out."
        )
        lines = [head]
        if self.regularization > 0:
            lines.append(f"L2 penalty {self.regularization:g} on standardised coefficients; no standard errors.")
        if not self.converged:
            lines.append(f"Not converged after {self.rounds} rounds.")
        if self.aliased:
            lines.append("Left out, because other columns determine them: " + ", ".join(self.aliased) + ".")
        strongest = sorted(self.standardized_coefficients.items(), key=lambda kv: -abs(kv[1]))[:10]
        lines.extend(f"  {name}: {value:+.4g}" for name, value in strongest)
        return "\n".join(lines)
