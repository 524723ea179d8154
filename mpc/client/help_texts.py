"""`sealroom help CODE`: what happened, why, and what to do, for every code of `mpc.errors`."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mpc.errors import ParameterError

__all__ = ["EXIT_CODES", "HELP", "HelpText", "text_of"]


@dataclass(frozen=True, slots=True)
class HelpText:
    """One code explained."""

    what: str
    why: str
    fixes: tuple[str, ...]
    """What to do, the likeliest first. Commands stand as they are typed."""


_TEXTS: Final = {
    "E1000": HelpText(
        "Something failed that has no code of its own.",
        "A part of the software raised the root of all errors instead of a leaf.",
        ("report it, with the command and what it printed",),
    ),
    "E1001": HelpText(
        "The software met a state that its authors thought impossible, here or at a participant.",
        "A fault of ours. Nothing about the data crosses the wire with it: only an incident number, which the node's "
        "own log explains.",
        (
            "look up the incident number in the log of the node that reported it, and report both",
            "run it again: jobs use fresh keys, so a second try is always safe",
        ),
    ),
    "E1301": HelpText(
        "The job was stopped before it gave a result.",
        "The analyst pressed Ctrl-C, called cancel, or a node was shut down. Nothing was opened.",
        ("run it again; a new job with fresh keys is made",),
    ),
    "E3001": HelpText(
        "A configuration file, a room folder or a flag is wrong.",
        "A file is missing or not valid, a key in it is unknown, or two of its values contradict each other.",
        (
            "read the line after Why: it names the file and the value",
            "sealroom doctor --folder FOLDER checks a member's whole folder",
        ),
    ),
    "E3101": HelpText(
        "A parameter set, a modulus or a shape does not exist or does not fit the computation.",
        "A scheme or set was asked for by name that is not in the table, or the result needs more room than it has.",
        ("leave --scheme out: the planner chooses a set that fits", "sealroom query --help lists the schemes"),
    ),
    "E3201": HelpText(
        "A secret key was used twice, after its destruction, or by code that may not use it.",
        "Every job has fresh keys, and each opens one result once. This is a guard against faults of software.",
        ("run the query again", "if it comes back, report it: this is never the user's fault"),
    ),
    "E3301": HelpText(
        "A party's database or file could not be read.",
        "The file is gone, the database refused the login or the statement, or a column has another type than the "
        "room's dictionary says. Details stay in that party's own log.",
        (
            "ask the party named in the message: its node's log has the details",
            "at that party: sealroom doctor --folder FOLDER",
        ),
    ),
    "E4001": HelpText(
        "A participant could not be reached or spoken to.",
        "Its node is not running, its name does not resolve, a firewall is in between, or something else listens "
        "there.",
        ("sealroom doctor --room ROOM tries each step of the connection", "start its node: sealroom party serve"),
    ),
    "E4101": HelpText(
        "A participant's identity was not accepted, or ours was not.",
        "A certificate has expired, was issued by another root than the one in the room's manifest, or carries another "
        "host name than the one that was dialled. A company's TLS-inspecting proxy looks exactly like this.",
        (
            "sealroom doctor --room ROOM says which certificate it is",
            "renew an expired one at its owner: sealroom party certificate renew --folder FOLDER",
            "after a new enrolment every member installs the new version: sealroom room install room.toml",
        ),
    ),
    "E4201": HelpText(
        "The caller is a member of the room, but its role may not do this.",
        "Authorisation follows the certificate: parties cannot submit queries, analysts cannot speak for parties, and "
        "nobody sees another analyst's jobs.",
        ("use the folder of a member with the right role", "ask the members for a new version of the room"),
    ),
    "E4301": HelpText(
        "A party did not answer when the job began.",
        "Its node is down, still starting, or cannot be reached from the coordinator. The job was started nowhere.",
        (
            "sealroom doctor --room ROOM shows which parties answer",
            "ask that party to start its node, and run it again; a node answers some seconds after its start",
        ),
    ),
    "E4302": HelpText(
        "A party left in the middle of the job, so the job ended without a result.",
        "Its node or the network to it failed. Masks cancel only when every party that began also ends; a sum without "
        "one of them opens to noise, and nothing was opened.",
        ("run it again; a new job with fresh keys is made", "sealroom doctor --room ROOM shows whether it is back"),
    ),
    "E4401": HelpText(
        "A step did not finish in time.",
        "A party's database is slow or busy, a link is thin, or the deadline is short for this query.",
        ("give it longer: --timeout 30m", "sealroom jobs list shows what else is running"),
    ),
    "E4501": HelpText(
        "A limit of memory, size, time or concurrency was reached at a participant.",
        "Nodes bound what one caller may use: jobs at once, bytes in a message, memory of a database worker.",
        (
            "wait for running jobs to end (sealroom jobs list), or ask for less at once",
            "at the node: raise the limit in party.toml or coordinator.toml; `limit disk` means that its disk is full",
        ),
    ),
    "E5001": HelpText(
        "A data owner's policy refuses this use of its data.",
        "Policies deny whatever they do not mention. The message names the party, the column and the rule; no data was "
        "read.",
        (
            "leave the column out, or use it as the policy allows",
            "ask the owner to allow it in policy.toml; a node reads it at its next start",
        ),
    ),
    "E6001": HelpText(
        "The budget that a data owner granted is used up.",
        "Every answer tells a little; owners bound the total. The charge is made before anything is sent. As many "
        "private scorings as vectors have dimensions would tell every item, so their number is bounded below that.",
        (
            "ask the owner for more",
            "ask again what was asked before: an identical query on the same data is not charged",
            "sealroom catalogues shows how many scorings are left",
        ),
    ),
    "E7001": HelpText(
        "The query cannot be answered under protection, or its SQL is not supported.",
        "Every answer is made of sums over all parties' rows. What is not a sum (a single row, a minimum, a window) is "
        "refused, and so is a query whose parts, added up, would differ from the same query over the pooled table.",
        (
            "write what the message suggests after the position it names",
            "sealroom tables lists the columns, their types and the keys that no two parties share",
        ),
    ),
    "E7101": HelpText(
        "A value, or a bound on a sum, leaves its declared range. Nothing was encrypted or sent.",
        "Ranges in the room's dictionary bound every sum, so that nothing wraps around. A row lies outside, or the "
        "query multiplies columns whose ranges are too wide together (more than 126 bits).",
        (
            "filter the rows, or divide before you multiply",
            "widen or narrow the column's range in the dictionary: a new version of the room, signed by all",
        ),
    ),
    "E8001": HelpText(
        "A signature, a count or a digest does not hold. The result was not released.",
        "A message was lost, repeated, exchanged or changed between a party and the reader, or a file was edited after "
        "it was signed. Bad memory and bad disks look the same.",
        (
            "run it again; if it comes back, tell the members: somebody on the way changes messages",
            "for a room file: fetch it again from whoever sealed it; sealroom room verify room.toml",
        ),
    ),
    "E8101": HelpText(
        "A message from a peer is not what the format says. Nothing of it was used.",
        "The peer runs another version, or is not a Sealroom node at all, or sends garbage on purpose.",
        ("sealroom doctor --room ROOM compares versions", "upgrade the older side"),
    ),
    "E8201": HelpText(
        "A participant sent something that the protocol does not allow here.",
        "Its version of the room differs, its clock is wrong by minutes, its plan for the same query differs, or it "
        "restarted in the middle of the job.",
        (
            "sealroom doctor --room ROOM compares rooms, versions and clocks",
            "make sure that every member installed the same version: sealroom room show",
        ),
    ),
    "E8202": HelpText(
        "A step that may run once was asked for again.",
        "A mask is used once. After a crash or a repeated request the attempt is dead, by design.",
        ("start a new job: run the query again",),
    ),
}

HELP: Final[Mapping[str, HelpText]] = MappingProxyType(_TEXTS)
"""Code -> its text."""

EXIT_CODES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0: "it worked",
        1: "an internal error",
        2: "the command line is wrong",
        3: "configuration, keys or a data source",
        4: "a participant cannot be reached, is not who it should be, or is at its limit",
        5: "a data owner's policy refuses",
        6: "a budget is used up",
        7: "the query cannot be answered under protection",
        8: "an integrity check failed, or a participant left the protocol",
        9: "a deadline passed",
        10: "a party left in the middle of the job",
        130: "interrupted",
    }
)
"""Exit code -> what it says."""


def text_of(code: str) -> HelpText:
    """The text of a code, with or without `SEALROOM-` and the E.

    Raises:
        ParameterError: There is no such code.
    """
    wanted = code.upper().removeprefix("SEALROOM-")
    found = HELP.get(wanted if wanted.startswith("E") else f"E{wanted}")
    if found is None:
        raise ParameterError("", reason=f"there is no error code {code[:20]}", instead="sealroom help lists them all")
    return found
