"""Begin a new process of a running job: connect to the rank that started it, then run the program.

The connection lasts until the process ends, so the rank learns of its death even before the loop, in an import say.

It is started as a file, without the site's packages: ``python -I -S new_process.py ADDRESS COMMAND...``, and leaves
the number of the connection in the environment.
"""

import os
import sys

CONNECTION = "CLUSTER_EMULATOR_JOIN"
"""Environment variable: the file descriptor of the connection."""


def connected(address: str) -> int:
    """Connect to ``HOST:PORT:PASSWORD``, send the password, and return the file descriptor."""
    import _socket  # the module socket takes ten times as long

    host, port, password = address.rsplit(":", 2)
    if host == os.uname().nodename:
        host = "127.0.0.1"
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    connection.connect((host, int(port)))
    connection.sendall(password.encode())
    return connection.detach()


if __name__ == "__main__":
    try:
        descriptor = connected(sys.argv[1])
    except OSError:  # the rank that asked for this process has died, and no other needs it
        sys.exit(0)
    os.set_inheritable(descriptor, True)
    os.execvpe(sys.argv[2], sys.argv[2:], {**os.environ, CONNECTION: str(descriptor)})
