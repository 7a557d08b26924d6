/* The patterns of bench/_smpi.py, for SMPI of SimGrid: each line of output is a pattern's name and its simulated seconds.

   prog BYTES. All ranks of SMPI lie in one process and share one buffer: the contents of the messages are of no concern. */

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LATE 0.3
#define APART 10.0 /* seconds of simulated time from pattern to pattern: the network is idle by then */

static int rank, size, bytes;
static char *memory;
static MPI_Request requests[256];

/* Passes simulated time, to the nanosecond. */
static void pause_for(double seconds) {
    struct timespec time = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

static void send_to(int to) { MPI_Send(memory, bytes, MPI_BYTE, to, 0, MPI_COMM_WORLD); }
static void receive_from(int from) { MPI_Recv(memory, bytes, MPI_BYTE, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE); }
static void swap(int to, int from) {
    MPI_Sendrecv(memory, bytes, MPI_BYTE, to, 0, memory, bytes, MPI_BYTE, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void ping_pong(void) {
    if (rank == 0) { send_to(1); receive_from(1); }
    if (rank == 1) { receive_from(0); send_to(0); }
}

static void exchange(void) { if (rank < 2) swap(1 - rank, 1 - rank); }

static void ring(void) {
    for (int step = 0; step < 2 * (size - 1); step++) swap((rank + 1) % size, (rank + size - 1) % size);
}

static void doubling(void) {
    for (int far = 1; far < size; far *= 2)
        if ((rank ^ far) < size) swap(rank ^ far, rank ^ far);
}

static void all_to_all(void) {
    for (int far = 1; far < size; far++) swap((rank + far) % size, (rank + size - far) % size);
}

static void incast(void) {
    if (rank) { send_to(0); return; }
    for (int from = 1; from < size; from++)
        MPI_Irecv(memory, bytes, MPI_BYTE, from, 0, MPI_COMM_WORLD, &requests[from - 1]);
    MPI_Waitall(size - 1, requests, MPI_STATUSES_IGNORE);
}

static void outcast(void) {
    if (rank) { receive_from(0); return; }
    for (int to = 1; to < size; to++)
        MPI_Isend(memory, bytes, MPI_BYTE, to, 0, MPI_COMM_WORLD, &requests[to - 1]);
    MPI_Waitall(size - 1, requests, MPI_STATUSES_IGNORE);
}

static void chain(void) {
    if (rank) receive_from(rank - 1);
    if (rank < size - 1) send_to(rank + 1);
}

static void incast_in_turns(void) {
    if (rank) send_to(0);
    else for (int from = 1; from < size; from++) receive_from(from);
}

static void late_receiver(void) {
    if (rank == 0) send_to(1);
    if (rank == 1) { pause_for(LATE); receive_from(0); }
}

#define PATTERN(name) {#name, name}
static const struct { const char *name; void (*run)(void); } patterns[] = {
    PATTERN(ping_pong), PATTERN(exchange), PATTERN(ring), PATTERN(doubling), PATTERN(all_to_all), PATTERN(incast),
    PATTERN(outcast), PATTERN(chain), PATTERN(incast_in_turns), PATTERN(late_receiver),
};

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    bytes = atoi(argv[1]);
    memory = SMPI_SHARED_MALLOC(bytes);
    for (int i = 0; i < (int)(sizeof patterns / sizeof *patterns); i++) {
        double begin = APART * (i + 1), end, last;
        pause_for(begin - MPI_Wtime());
        begin = MPI_Wtime();
        patterns[i].run();
        end = MPI_Wtime();
        pause_for(APART / 2); /* else the reduction of ranks that are idle would share cards with the pattern */
        MPI_Reduce(&end, &last, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
        if (rank == 0) printf("%s %.9f\n", patterns[i].name, last - begin);
    }
    MPI_Finalize();
    return 0;
}
