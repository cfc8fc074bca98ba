"""Networks of Linux itself: namespaces with real links between them, and what runs in them.

A namespace here has no name in the file system. It lives as long as this process holds its descriptor or something runs in
it, and all that runs in it is killed by the kernel when the thread that started it ends: nothing is left behind, however
a test ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

CLONE_NEWNET = 0x40000000
"""unshare(2)."""

TOOLS = ("ip", "tc", "nft", "iptables", "ip6tables", "ethtool", "tcpdump", "nsenter", "setpriv", "timeout")


def missing(*tools: str) -> list[str]:
    """What is lacking on this machine to make networks, and of the tools named."""
    lacking = [tool for tool in (*TOOLS, *tools) if shutil.which(tool) is None]
    if os.geteuid() != 0:
        return ["root", *lacking]
    try:
        namespace = Namespace("probe")
    except OSError as error:
        return [*lacking, f"network namespaces ({error.strerror})"]
    for kind in ("veth", "bridge"):
        try:
            namespace.ip(f"link add type {kind}")
        except (CommandError, OSError):
            lacking.append(f"{kind} devices")
    namespace.close()
    return lacking


class CommandError(Exception):
    """A command in a namespace failed."""


class Namespace:
    """A network namespace: a machine as far as the network goes."""

    def __init__(self, name: str) -> None:
        """Makes one with a loopback interface. It routes nothing, and keeps quiet where nobody asked it."""
        self.name = name
        self.descriptor = _new_namespace()
        self.path = f"/proc/{os.getpid()}/fd/{self.descriptor}"
        # Addresses can be used at once, and no interface asks for routers by itself.
        default = "net.ipv6.conf.default."
        self.sysctl({default + key: 0 for key in ("accept_dad", "accept_ra", "router_solicitations")})
        self.ip("link set lo up")

    def command(self, *arguments: str | Path, seconds: float = 30) -> list[str]:
        """The command that runs a program in here, for so long at the most."""
        # Whoever started it dies, it dies: a program by its time limit, and that by this thread.
        held = ["setpriv", "--pdeathsig", "KILL"]
        limit = ["timeout", "--kill-after=1", f"{seconds}"]
        return [*held, *limit, *held, "nsenter", f"--net={self.path}", *map(str, arguments)]

    def run(self, *arguments: str | Path, text: str = "", seconds: float = 30) -> str:
        """Runs a program to its end, and returns what it prints.

        Raises:
            CommandError: It failed.
        """
        done = subprocess.run(
            self.command(*arguments, seconds=seconds), input=text, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
            raise CommandError(f"{self.name}: {' '.join(map(str, arguments))}\n{text}{said}")
        return done.stdout

    def ip(self, *commands: str) -> None:
        """Runs commands of ip(8)."""
        self.run("ip", "-batch", "-", text="\n".join(commands) + "\n")

    def tc(self, *commands: str) -> None:
        """Runs commands of tc(8)."""
        self.run("tc", "-batch", "-", text="\n".join(commands) + "\n")

    def nft(self, rules: str) -> None:
        """Loads a ruleset of nft(8)."""
        self.run("nft", "-f", "-", text=rules)

    def sysctl(self, values: dict[str, int]) -> None:
        """Sets values under /proc/sys, which shows the namespace of who looks."""
        lines = [f"echo {value} > /proc/sys/{key.replace('.', '/')}" for key, value in values.items()]
        self.run("sh", "-e", text="\n".join(lines) + "\n")

    def close(self) -> None:
        """Lets go of it."""
        os.close(self.descriptor)


def _new_namespace() -> int:
    """A descriptor of a new network namespace."""
    found: list[int | OSError] = []

    # Namespaces are a matter of threads: one that ends at once leaves this process where it is.
    def make() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) == 0:
            found.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        else:
            error = ctypes.get_errno()
            found.append(OSError(error, os.strerror(error)))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    result = found[0]
    if isinstance(result, OSError):
        raise result
    return result


class Network:
    """Namespaces, links between them and programs in them, until the end of a ``with`` statement."""

    def __init__(self, folder: Path) -> None:
        """Programs that are started work in this folder, where captures are kept too."""
        self.folder = folder
        self._stack = contextlib.ExitStack()
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        self._stack.__enter__()
        self._stack.callback(self._stop)
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def namespace(self, name: str) -> Namespace:
        """A new namespace."""
        namespace = Namespace(name)
        self._stack.callback(namespace.close)
        return namespace

    def link(
        self, one: Namespace, one_device: str, other: Namespace, other_device: str, *, offload: bool = False
    ) -> None:
        """A cable between two namespaces, whose ends get these names.

        Without ``offload`` frames are on it as they would be on a real cable: whole checksums, and no segments that
        are larger than its MTU.
        """
        ends = ((one, one_device), (other, other_device))
        one.ip(f"link add {one_device} type veth peer name {other_device} netns {other.path}")
        for namespace, device in ends:
            namespace.ip(f"link set {device} address {mac_of(namespace, device)} up")
            if not offload:
                features = ("rx", "tx", "tso", "gso", "gro")
                namespace.run("ethtool", "-K", device, *(word for name in features for word in (name, "off")))

    def start(
        self, namespace: Namespace, *arguments: str | Path, until: str | None = None, seconds: float = 60
    ) -> subprocess.Popen[str]:
        """Starts a program, and waits until it says something on its error output: a regular expression."""
        process = subprocess.Popen(
            namespace.command(*arguments, seconds=seconds),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        self._processes.append(process)
        if until is not None:
            _wait_until(process, until, " ".join(map(str, arguments)))
        return process

    def finish(
        self, process: subprocess.Popen[str], *, signal: int | None = None, seconds: float = 30
    ) -> str:
        """Waits for the end of a program, after it was sent a signal if one is given; returns its error output.

        Raises:
            CommandError: It failed, or did not end.
        """
        if signal is not None:
            process.send_signal(signal)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise CommandError(f"{process.args} did not end\n{out}{err}") from None
        finally:
            if process in self._processes:
                self._processes.remove(process)
        if process.returncode != 0:
            raise CommandError(f"{process.args}: exit code {process.returncode}\n{out}{err}")
        return err

    def check(self) -> None:
        """Makes sure that what was started is still at work.

        Raises:
            CommandError: A program ended though nobody asked it to.
        """
        for process in self._processes:
            if process.poll() is not None:
                self.finish(process)
                raise CommandError(f"{process.args} ended by itself")

    def _stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.communicate(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _wait_until(process: subprocess.Popen[str], pattern: str, what: str, seconds: float = 20) -> None:
    assert process.stderr is not None
    end, said = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        if select.select([process.stderr], [], [], 0.2)[0]:
            text = os.read(process.stderr.fileno(), 65536).decode(errors="replace")
            said += text
            if re.search(pattern, said):
                return
            if not text:
                break
    raise CommandError(f"{what} did not say {pattern!r}\n{said}")


def mac_of(namespace: Namespace, device: str) -> str:
    """The MAC address that a link gives to this end: the same in every run, and locally administered."""
    digest = hashlib.sha256(f"{namespace.name} {device}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in b"\x02" + digest[:5])


@contextlib.contextmanager
def captured(network: Network, taps: Sequence[tuple[Namespace, str, Path]]) -> Iterator[None]:
    """Captures at devices, into files, what happens within.

    Raises:
        CommandError: Frames were lost, so nothing can be said of the capture.
    """
    options = ("-n", "-s", "0", "-B", "16384", "--time-stamp-precision=nano", "-Z", "root")
    running = [
        network.start(
            namespace, "tcpdump", *options, "-i", device, "-w", path, until="listening on", seconds=120
        )
        for namespace, device, path in taps
    ]
    yield
    # Blocks of frames that are not full are handed over after a second: tcpdump's read timeout.
    time.sleep(1.2)
    for process, (_, device, _) in zip(running, taps, strict=True):
        said = network.finish(process, signal=2)
        lost = re.search(r"(\d+) packets? dropped by kernel", said)
        if lost is None or lost[1] != "0":
            raise CommandError(f"the capture at {device} is not whole:\n{said}")
