"""Parameter server: shards of the parameters on servers, workers that pull rows and push gradients.

             shard 0          shard 1
            +-------+        +-------+          servers: w <- update(w, g)
            | w[0:m]|        | w[m:n]|
            +-------+        +-------+
           pull ^ | ^ push     ^   ^
             |  | '--|------.--|---'
            g0 w v  g1   w  g2 w
           worker 0 worker 1 worker 2           workers: g = gradient(w, batch)

One iteration of a worker: pull the rows that the batch touches, compute, push their gradients, close the iteration.
A request to a shard is one message, the reply to a pull another one. When a pull is answered and when a push takes
effect is decided by the consistency rule (`consistency`): bsp, ssp or async.

    bytes per worker and iteration, dense      2 n + (3 k) headers of 56 B        n bytes of parameters, k shards
    sparse, r distinct rows of b bytes         2 r b + 8 r of keys (nothing when the key lists repeat)
    bytes through one server's port            2 w n / k
    time, one port after the other             max(2 w (alpha + n beta/k) + w n gamma/k, 2 (k alpha + n beta))
    time where a port is full duplex           `emulator.costs`: parameter_server

Limits: the servers' ports are the bottleneck from w > k on (incast); a ring moves 2 n (p-1)/p per port whatever p.
Under bsp the result is bit-equal to the sequential run (pushes are added in rank order). A replica set of r
survives r - 1 lost servers; a shard's replicas are fixed when it starts.

    placement      range, hash, consistent hashing           layout     roles and replica chains
    table          rows, their part in a shard               shard      one shard's decisions, no MPI
    consistency    the three rules, observed staleness       server     the loop around shards
    updates        SGD, momentum, Adagrad, your own          worker     pull, push, tick, leave
    messages       layout of messages, key lists             channel    a worker's messages
    keys           requests cut by shard                     compression    fp16, top-k with error feedback
    service        `ParameterServer`: all of it

Smola and Narayanamurthy, "An Architecture for Parallel Topic Models" (VLDB 2010); Li et al., "Scaling Distributed
Machine Learning with the Parameter Server" (OSDI 2014); Ho et al. (NIPS 2013) for bounded staleness.
"""

from primitives.parameter_server.consistency import Consistency, Staleness, StalenessExceeded
from primitives.parameter_server.placement import moved, place
from primitives.parameter_server.service import ParameterServer, Summary
from primitives.parameter_server.table import Table
from primitives.parameter_server.updates import SGD, Adagrad, Add, Function, Momentum, Update
from primitives.parameter_server.worker import Pull, Worker

__all__ = [
    "SGD", "Adagrad", "Add", "Consistency", "Function", "Momentum", "ParameterServer", "Pull", "Staleness",
    "StalenessExceeded", "Summary", "Table", "Update", "Worker", "moved", "place",
]  # fmt: skip
