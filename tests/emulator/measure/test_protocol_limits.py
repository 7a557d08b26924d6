"""The library's limits out of its own words, and which of them explains a switch."""

import subprocess

import pytest

from emulator.measure import protocol_limits

ANSWER = """\
mca:btl:sm:param:btl_sm_eager_limit:value:4096
mca:btl:sm:param:btl_sm_eager_limit:source:default
mca:btl:sm:param:btl_sm_rndv_eager_limit:value:32768
mca:btl:sm:param:btl_sm_max_send_size:value:32768
mca:btl:tcp:param:btl_tcp_eager_limit:value:65536
mca:btl:tcp:param:btl_tcp_eager_limit:help:Maximum size, of "short" messages
garbage
"""
LIMITS = {"btl_sm_eager_limit": 4096, "btl_sm_rndv_eager_limit": 32768, "btl_tcp_eager_limit": 65536}


def test_limits_are_read_from_what_the_library_says():
    assert protocol_limits.parse(ANSWER) == LIMITS


def test_open_mpi_always_has_limits_and_others_none():
    limits, source = protocol_limits.limits("Open MPI v5.0.11")
    assert limits["btl_sm_eager_limit"] > 0
    assert source in ("ompi_info", "Open MPI's documentation")
    assert protocol_limits.limits("MPICH Version: 4.3.0") == ({}, "MPICH Version: 4.3.0 does not say")


def test_values_that_the_library_did_not_say_are_not_called_its_own(monkeypatch):
    for answer, source in ((ANSWER, "ompi_info"), ("nothing\n", "Open MPI's documentation")):
        done = subprocess.CompletedProcess([], 0, stdout=answer)
        monkeypatch.setattr(protocol_limits.subprocess, "run", lambda *command, done=done, **how: done)
        monkeypatch.setattr(protocol_limits.shutil, "which", lambda program: f"/bin/{program}")
        assert protocol_limits.limits("Open MPI v5.0.11") == (LIMITS, source)


@pytest.mark.parametrize(
    ("last", "first", "transport", "names"),
    [
        (4096, 8192, "sm", ["btl_sm_eager_limit"]),
        (3983, 4095, "sm", ["btl_sm_eager_limit"]),  # the limit counts the header too
        (2048, 3000, "sm", []),
        (16384, 131072, "sm", ["btl_sm_rndv_eager_limit"]),
        (16384, 131072, "tcp", ["btl_tcp_eager_limit"]),
        (4096, 8192, "tcp", []),  # not another transport's
        (4096, 8192, "", []),
    ],
)
def test_a_switch_is_explained_by_the_limits_of_its_transport(last, first, transport, names):
    assert protocol_limits.near(last, first, LIMITS, transport) == names


@pytest.mark.parametrize(
    ("chosen", "one_host", "two_hosts"),
    [
        ({}, "sm", "tcp"),
        ({"OMPI_MCA_btl": "self,tcp"}, "tcp", "tcp"),
        ({"OMPI_MCA_btl": "^sm"}, "tcp", "tcp"),
        ({"OMPI_MCA_btl": "self,sm"}, "sm", ""),
        ({"OMPI_MCA_pml": "ucx"}, "", ""),
    ],
)
def test_the_transport_is_the_one_in_use(monkeypatch, chosen, one_host, two_hosts):
    for name in ("OMPI_MCA_btl", "OMPI_MCA_pml"):
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    assert (protocol_limits.transport(True), protocol_limits.transport(False)) == (one_host, two_hosts)
