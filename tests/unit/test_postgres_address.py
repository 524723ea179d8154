"""Addresses of databases that are no addresses, and what a connection that fails tells its owner, and others."""

import pytest

from mpc.errors import ConfigurationError
from servers.party.sources.postgres_address import connection_fault, connection_url

PASSWORD = "hunter2"


@pytest.mark.parametrize(
    "url",
    ["//u:hunter2#1@db/x", "//u:hunter2/1@db/x", "//u:p@[hunter2/x", "//u:hunter2@db:99999/x", "//u:hunter2@db:x/x"],
)
def test_what_is_no_address_is_said_without_it(url):
    with pytest.raises(ConfigurationError, match="%23") as refused:
        connection_url(f"postgresql:{url}")

    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["//u:p%23@a:1,b:2/x", "//u@[::1]:5433/x", "///x?host=/run/postgresql", "//@/x?host=@pg"]
)
def test_libpqs_other_spellings_are_addresses(url):
    assert connection_url(f"postgresql:{url}")


AWAY, SHUT = "the database cannot be reached", "the database does not let us in"


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        (
            'connection to server at "db" failed: FATAL:  password authentication failed for user "hunter2"',
            SHUT,
            "password",
        ),
        ('FATAL:  role "hunter2" does not exist', SHUT, "no such user"),
        ('FATAL:  role "hunter2" is not permitted to log in', SHUT, "no such user"),
        ('FATAL:  database "hunter2" does not exist', SHUT, "no database of that name"),
        ('FATAL:  permission denied for database "hunter2"', SHUT, "may not connect"),
        (
            'FATAL:  no pg_hba.conf entry for host "192.0.2.1", user "u", database "d", no encryption',
            SHUT,
            "pg_hba.conf",
        ),
        ("FATAL:  sorry, too many clients already", SHUT, "no connection left"),
        ("FATAL:  the database system is starting up", AWAY, "starting or stopping"),
        ('root certificate file "/hunter2/root.crt" does not exist', SHUT, "sslrootcert="),
        ("server does not support SSL, but SSL was required", SHUT, "does not speak TLS"),
        ("SSL error: certificate verify failed", SHUT, "not from the root"),
        ('server certificate for "a" does not match host name "hunter2"', SHUT, "for another host"),
        ('could not translate host name "hunter2" to address', AWAY, "does not resolve"),
        ("failed: Connection refused\n\tIs the server running", AWAY, "nothing listens"),
        ('connection to server on socket "/x/.s.PGSQL.5432" failed: No such file or directory', AWAY, "socket"),
        ("failed: timeout expired", AWAY, "in time"),
        ('invalid sslmode value: "hunter2"', SHUT, "does not understand"),
        ("something new", SHUT, ""),
    ],
)
def test_why_a_connection_failed_is_told_without_the_servers_words(text, reason, detail):
    found = connection_fault(f"IO: [libpq] Failed to connect: {text}")

    assert found.fields == {"reason": reason}
    assert detail in found.detail
    assert PASSWORD not in str(found)
