"""EXPLAIN ANALYZE: the plan, and beside what was predicted what was measured."""

from dataclasses import dataclass

from mpc.client.answer import Answer
from mpc.plan import Explanation

__all__ = ["Analysis"]


@dataclass(frozen=True, slots=True)
class Analysis:
    """An explained and executed query."""

    explanation: Explanation
    answer: Answer

    @property
    def bytes_per_party(self) -> dict[str, int]:
        """Bytes that each party sent to the coordinator."""
        report = self.answer.report
        return {p: report.traffic.get(p, {}).get("bytes_received", 0) for p in report.participants}

    def text(self) -> str:
        """The plan's text, then predicted and measured side by side."""
        report = self.answer.report
        phases = ", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in report.phases.items())
        sent = ", ".join(f"{party} {size:,}" for party, size in self.bytes_per_party.items())
        return "\n".join(
            [
                self.explanation.text(),
                "measured",
                f"  {len(self.answer)} rows in {report.seconds:.3f} s: {phases}",
                f"  bytes sent by each party: {sent} (predicted {self.explanation.bytes_per_party:,})",
                f"  ciphertexts opened by the analyst: {report.ciphertexts}; bytes received {report.bytes_received:,}",
            ]
        )

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """Rows, prediction and measurement, for notebooks."""
        from mpc.client.notebook import analysis_html

        return analysis_html(self)
