"""dask.distributed for `bench.scatter_gather`, on three worker processes; needs dask and no module of this project.

dask has no chunks of its own (``batch_size`` of ``Client.map`` only splits the submission; each task stays a task,
at about a millisecond), so a chunk is made as its users make one: a task that runs a hundred.
"""

import json
import os
import sys
import time

CHUNK = 100


def square(x):
    """The task: as small as a task can be."""
    return x * x


def squares(numbers):
    """Run a chunk of tasks as one task."""
    return [square(x) for x in numbers]


def chunks(client, tasks=20_000):
    """Tasks per second, a hundred to a task."""
    start = time.perf_counter()
    parts = [range(first, first + CHUNK) for first in range(0, tasks, CHUNK)]
    values = [value for part in client.gather(client.map(squares, parts, pure=False)) for value in part]
    seconds = time.perf_counter() - start
    assert values == squares(range(tasks))
    return tasks / seconds


def one_by_one(client, tasks=500):
    """Tasks per second, each on its own."""
    start = time.perf_counter()
    values = client.gather(client.map(square, range(tasks), pure=False))
    seconds = time.perf_counter() - start
    assert values == squares(range(tasks))
    return tasks / seconds


def main(path, budget):
    """Alternate both until the time is up; after each turn all rates so far are written."""
    from distributed import Client, LocalCluster

    rates = {"chunks": [], "one by one": []}
    with LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.gather(client.map(square, range(-10, 0), pure=False))
        end = time.perf_counter() + budget
        while not rates["chunks"] or time.perf_counter() < end:
            rates["chunks"].append(chunks(client))
            rates["one by one"].append(one_by_one(client))
            with open(path + ".new", "w", encoding="utf-8") as file:
                json.dump(rates, file)
            os.replace(path + ".new", path)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
