"""Every error the library raises, drawn once.

    MpcError
      ConfigurationError       a file or a flag is wrong
      ParameterError           a parameter set or a shape does not exist or does not fit
      KeyAccessError           a key was used twice, destroyed, or by someone who may not
      RangeError               a value or a planned bound leaves its declared range
      PlanError                the SQL or the training spec cannot be protected, or is not supported
      SourceError              a database or a file could not be read
      PolicyDenied             an owner's policy says no
        BudgetExhausted
      WireError                bytes from a peer are not what the format says
      ProtocolError            a peer left the protocol
        IntegrityError         a signature, a count or a digest does not hold
        ReplayError            the same step was asked for twice
      TransportError           a peer could not be reached or spoken to
        AuthenticationError    the peer is not who it should be
        AuthorizationError     the peer may not do this
        PartyUnavailable
        PartyLost              a party left in the middle of a job
        DeadlineExceeded
      ResourceExhausted        a limit of memory, time or concurrency
      JobCancelled
      InternalError            our fault

Each leaf has a stable code, the exit code of the command line, and a public sentence. Fields are names (a column, a
rule, a party, an offset), never data: they may cross the wire. The free text given first, `detail`, stays local.
"""

from typing import ClassVar

__all__ = [
    "AuthenticationError",
    "AuthorizationError",
    "BudgetExhausted",
    "ConfigurationError",
    "DeadlineExceeded",
    "IntegrityError",
    "InternalError",
    "JobCancelled",
    "KeyAccessError",
    "MpcError",
    "ParameterError",
    "PartyLost",
    "PartyUnavailable",
    "PlanError",
    "PolicyDenied",
    "ProtocolError",
    "RangeError",
    "ReplayError",
    "ResourceExhausted",
    "SourceError",
    "TransportError",
    "WireError",
]


class MpcError(Exception):
    """Root of the tree.

    Args:
        detail: Local explanation; it is shown where the error was raised and never sent to a peer.
        **fields: Names that make the public sentence precise (column, rule, party, offset, ...). Never data.
    """

    code: ClassVar[str] = "E1000"
    exit_code: ClassVar[int] = 1
    sentence: ClassVar[str] = "something failed"
    fix: ClassVar[str] = ""

    def __init__(self, detail: str = "", /, **fields: str | int) -> None:
        self.detail = detail
        self.fields: dict[str, str | int] = fields
        super().__init__(detail)

    @property
    def public(self) -> str:
        """The sentence that may cross the wire: the leaf's own words and its fields."""
        said = {"instead", "reason"} | ({"member"} if self.fields.get("member") == self.fields.get("party") else set())
        known = [f"{name} {value}" for name, value in self.fields.items() if name not in said]
        text = f"{self.sentence} ({', '.join(known)})" if known else self.sentence
        if reason := self.fields.get("reason"):
            text = f"{text}: {reason}"
        if instead := self.fields.get("instead"):
            text = f"{text}; instead: {instead}"
        return text

    def __str__(self) -> str:
        return f"{self.public} [{self.detail}]" if self.detail else self.public


class ConfigurationError(MpcError):
    """A configuration file, a room folder or a flag is wrong."""

    code = "E3001"
    exit_code = 3
    sentence = "the configuration is not valid"


class ParameterError(MpcError):
    """A parameter set, a modulus or a shape does not exist or does not fit."""

    code = "E3101"
    exit_code = 3
    sentence = "the parameters do not fit"


class KeyAccessError(MpcError):
    """A key was used twice, after its destruction, or by code without access."""

    code = "E3201"
    exit_code = 3
    sentence = "the key may not be used this way"


class RangeError(MpcError):
    """A value or a planned bound leaves its declared range; raised before anything is encrypted."""

    code = "E7101"
    exit_code = 7
    sentence = "a value leaves its declared range"
    fix = "widen the range in the room's dictionary, or filter the rows"


class PlanError(MpcError):
    """The SQL or the training spec cannot be protected, or is not supported.

    Fields: `offset` (characters into the text), `reason`, `instead` (what to write).
    """

    code = "E7001"
    exit_code = 7
    sentence = "the query cannot be answered under protection"


class SourceError(MpcError):
    """A party's database or file could not be read."""

    code = "E3301"
    exit_code = 3
    sentence = "a data source could not be read"


class PolicyDenied(MpcError):
    """An owner's policy refuses. Fields: `party`, `column`, `rule`."""

    code = "E5001"
    exit_code = 5
    sentence = "refused by a data owner's policy"


class BudgetExhausted(PolicyDenied):
    """The privacy budget or the number of allowed queries is used up."""

    code = "E6001"
    exit_code = 6
    sentence = "the budget granted by a data owner is used up"


class WireError(MpcError):
    """Bytes from a peer break the format; nothing of them was used."""

    code = "E8101"
    exit_code = 8
    sentence = "a message breaks the wire format"


class ProtocolError(MpcError):
    """A peer sent a well-formed message that the protocol does not allow here."""

    code = "E8201"
    exit_code = 8
    sentence = "a participant left the protocol"


class IntegrityError(ProtocolError):
    """A signature, a count slot or a digest does not hold: the result is not released."""

    code = "E8001"
    exit_code = 8
    sentence = "an integrity check failed"


class ReplayError(ProtocolError):
    """A step that may run once was asked for again."""

    code = "E8202"
    exit_code = 8
    sentence = "this step already ran and will not run again"
    fix = "start a new job"


class TransportError(MpcError):
    """A peer could not be reached or spoken to."""

    code = "E4001"
    exit_code = 4
    sentence = "a participant could not be reached"


class AuthenticationError(TransportError):
    """The peer's certificate or signature is not the one in the room's manifest."""

    code = "E4101"
    exit_code = 4
    sentence = "a participant's identity was not accepted"


class AuthorizationError(TransportError):
    """The peer is known, but its role may not call this."""

    code = "E4201"
    exit_code = 4
    sentence = "the caller's role may not do this"


class PartyUnavailable(TransportError):
    """A party did not answer when the job began. Field: `party`."""

    code = "E4301"
    exit_code = 4
    sentence = "a party does not answer"


class PartyLost(TransportError):
    """A party left in the middle of a job; the job ends. Field: `party`."""

    code = "E4302"
    exit_code = 10
    sentence = "a party left in the middle of the job"
    fix = "run it again; a new job with fresh keys is made"


class DeadlineExceeded(TransportError):
    """A step did not finish in time."""

    code = "E4401"
    exit_code = 9
    sentence = "the deadline passed"


class ResourceExhausted(MpcError):
    """A limit of memory, time, size or concurrency was reached."""

    code = "E4501"
    exit_code = 4
    sentence = "a resource limit was reached"


class JobCancelled(MpcError):
    """The analyst or an operator cancelled the job."""

    code = "E1301"
    exit_code = 130
    sentence = "the job was cancelled"


class InternalError(MpcError):
    """A fault of the software; the field `incident` finds it in the node's log."""

    code = "E1001"
    exit_code = 1
    sentence = "an internal error occurred"
