/* The clients of the data path: many at once in one thread, so light that the proxy is what counts.
 *
 *     load MODE port=N [model=NAME] [path=PATH] [pids=N,N] ...
 *
 * prints one line of JSON.  With `pids`, the processor time is in it that these processes took in
 * the window that is measured, by the scheduler's own books.
 *
 *   requests connections=N seconds=N      questions with short answers, as many as are answered
 *   streams connections=N every_us=N seconds=N     tokens at this pace; how late they come
 *   burst tokens=N                        one stream, as fast as it comes
 *   download bytes=N [rate=N]             one answer of this size; rate: read so many bytes a second
 *   upload bytes=N                        one body of this size
 *   cancel times=N first=ID               streams that are left: prints "left ID AT" for each as well
 */
#include "wire.h"
#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>

#define RECEIVE 65536
#define MARK "\"content\":\"" /* Then 20 digits: when the token was written. */
#define DIGITS 20
#define NEEDED (sizeof MARK - 1 + DIGITS)
#define OPENING_MAX 32 /* Streams that begin at the same time; those that run are not disturbed. */
#define OPENING_S 20
#define SETTLE (SECOND / 2)
#define SAMPLES_MAX (1 << 22)

enum part { HEAD, LENGTH, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, WHOLE };

struct client {
    int fd;
    enum part part;
    char line[8192]; /* The head, or the size of a chunk, as far as it has come. */
    size_t have;
    long long left; /* Of the body, or of the chunk. */
    char tail[NEEDED]; /* The end of the body so far: a token may come in pieces. */
    size_t tail_size;
    bool begun, closes;
    int64_t asked_at;
};

static int port, loop;
static const char *model = "m", *path = "/v1/chat/completions", *pids = "";
static char question[1024];
static bool streams; /* Answers are streams of tokens. */
static struct client *clients;
static long long answers, tokens, broken, begun;
static int64_t begins_at, ends_at, came_at;
static uint32_t *samples; /* In units of 100 ns. */
static size_t samples_size;

static void keep(int64_t ns) {
    if (samples_size < SAMPLES_MAX) samples[samples_size++] = ns < 0 ? 0 : ns / 100;
}

static int by_size(const void *a, const void *b) {
    return (*(uint32_t *)a > *(uint32_t *)b) - (*(uint32_t *)a < *(uint32_t *)b);
}

static double quantile_us(double part) {
    if (!samples_size) return -1;
    qsort(samples, samples_size, sizeof *samples, by_size);
    return samples[(size_t)(part * (samples_size - 1))] / 10.0;
}

/* The first number of schedstat is the time on a processor, one file for each thread. */
static long long cpu_ns(void) {
    long long sum = 0;
    char list[512], *rest = list;
    snprintf(list, sizeof list, "%s", pids);
    for (char *pid; (pid = strsep(&rest, ","));) {
        char name[512];
        snprintf(name, sizeof name, "/proc/%s/task", pid);
        DIR *folder = *pid ? opendir(name) : NULL;
        for (struct dirent *task; folder && (task = readdir(folder));) {
            long long took;
            snprintf(name, sizeof name, "/proc/%s/task/%s/schedstat", pid, task->d_name);
            FILE *file = *task->d_name == '.' ? NULL : fopen(name, "r");
            if (!file) continue;
            if (fscanf(file, "%lld", &took) == 1) sum += took;
            fclose(file);
        }
        if (folder) closedir(folder);
    }
    return sum;
}

static int dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(port);
    if (connect(fd, (void *)&address, sizeof address)) die("connect");
    return fd;
}

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0) die("send");
        data += sent;
        size -= sent;
    }
}

/* ---- one answer ---- */

static void scan_tokens(struct client *one, const char *data, size_t size) {
    static char joined[RECEIVE + NEEDED];
    memcpy(joined, one->tail, one->tail_size);
    memcpy(joined + one->tail_size, data, size);
    size += one->tail_size;
    const char *at = joined, *end = joined + size, *mark;
    while ((mark = memmem(at, end - at, MARK, sizeof MARK - 1)) && mark + NEEDED <= end) {
        at = mark + NEEDED;
        if (!one->begun) begun++;
        one->begun = true;
        if (begins_at && came_at >= begins_at) {
            tokens++;
            keep(came_at - atoll(mark + sizeof MARK - 1));
        }
    }
    one->tail_size = end - at < (ptrdiff_t)(NEEDED - 1) ? (size_t)(end - at) : NEEDED - 1;
    memcpy(one->tail, end - one->tail_size, one->tail_size);
}

/* Take bytes of a line up to its end; true: it is complete, and `have` is its size. */
static bool take_line(struct client *one, const char **data, const char *end, const char *mark) {
    size_t length = strlen(mark);
    while (*data < end && one->have < sizeof one->line - 1) {
        one->line[one->have++] = *(*data)++;
        if (one->have >= length && !memcmp(one->line + one->have - length, mark, length)) {
            one->line[one->have] = 0;
            return true;
        }
    }
    return false;
}

static bool begin_body(struct client *one) {
    if (one->have < 12 || memcmp(one->line + 8, " 200", 4)) return false;
    const char *length = header(one->line, "\r\ncontent-length:");
    const char *coding = header(one->line, "\r\ntransfer-encoding:");
    const char *option = header(one->line, "\r\nconnection:");
    one->closes = option && !strncasecmp(option, "close", 5);
    if (coding && !strncasecmp(coding, "chunked", 7)) one->part = CHUNK_SIZE;
    else if (length) one->left = atoll(length), one->part = one->left ? LENGTH : WHOLE;
    else return false;
    return true;
}

/* Read what came; false: this is no answer of status 200 in good order. */
static bool feed(struct client *one, const char *data, size_t size) {
    came_at = now_ns();
    const char *end = data + size;
    while (data < end && one->part != WHOLE) {
        if (one->part == HEAD) {
            if (take_line(one, &data, end, "\r\n\r\n")) {
                if (!begin_body(one)) return false;
                one->have = 0;
            }
        } else if (one->part == CHUNK_SIZE) {
            if (take_line(one, &data, end, "\r\n")) {
                one->left = strtoll(one->line, NULL, 16);
                one->part = one->left ? CHUNK : TRAILER;
                one->have = 0;
            }
        } else if (one->part == CHUNK_END || one->part == TRAILER) {
            if (take_line(one, &data, end, "\r\n")) {
                bool empty = one->have == 2;
                one->have = 0;
                if (one->part == CHUNK_END) one->part = CHUNK_SIZE;
                else if (empty) one->part = WHOLE;
            }
        } else {
            size_t piece = end - data < one->left ? (size_t)(end - data) : (size_t)one->left;
            if (streams) scan_tokens(one, data, piece);
            data += piece;
            one->left -= piece;
            if (!one->left) one->part = one->part == CHUNK ? CHUNK_END : WHOLE;
        }
        if (one->have == sizeof one->line - 1) return false;
    }
    return true;
}

static void ask(struct client *one) {
    one->part = HEAD;
    one->have = one->tail_size = 0;
    one->asked_at = now_ns();
    send_all(one->fd, question, strlen(question));
}

static void open_client(struct client *one) {
    one->fd = dial();
    make_prompt(one->fd);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    epoll_ctl(loop, EPOLL_CTL_ADD, one->fd, &event);
    ask(one);
}

/* Read once; false: the answer broke. */
static bool read_some(struct client *one) {
    static char data[RECEIVE];
    ssize_t got = recv(one->fd, data, sizeof data, 0);
    if (got < 0 && errno == EAGAIN) return true;
    return got > 0 && feed(one, data, got);
}

/* ---- many at once ---- */

static void write_question(bool stream, long long count, long long every_us, long long id) {
    char body[512];
    streams = stream;
    int size = snprintf(body, sizeof body, "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\","
                        "\"content\":\"Tell me a story.\"}],\"temperature\":0.7,\"stream\":%s,"
                        "\"max_tokens\":%lld,\"every_us\":%lld,\"id\":%lld}",
                        model, stream ? "true" : "false", count, every_us, id);
    snprintf(question, sizeof question, "POST %s HTTP/1.1\r\nHost: localhost\r\n"
             "User-Agent: load\r\nAccept: */*\r\nAuthorization: Bearer none\r\n"
             "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, size, body);
}

static void turn(bool again) {
    struct epoll_event events[256];
    int count = epoll_wait(loop, events, 256, 10);
    for (int i = 0; i < count; i++) {
        struct client *one = events[i].data.ptr;
        if (!read_some(one)) {
            broken++;
            close(one->fd);
            if (again && broken < 1000) open_client(one);
        } else if (again && one->part == WHOLE) {
            if (begins_at) {
                answers++;
                keep(now_ns() - one->asked_at);
            }
            if (one->closes) { /* Some servers do, after so many answers. */
                close(one->fd);
                open_client(one);
            } else
                ask(one);
        }
    }
}

static void measure(double seconds, bool again) {
    int64_t settled_at = now_ns() + SETTLE;
    while (now_ns() < settled_at) turn(again);
    long long cpu = cpu_ns();
    begins_at = now_ns();
    while (now_ns() < begins_at + seconds * SECOND) turn(again);
    ends_at = now_ns();
    cpu = cpu_ns() - cpu;
    printf("{\"seconds\": %.6f, \"cpu_ns\": %lld, \"answers\": %lld, \"tokens\": %lld, "
           "\"broken\": %lld, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           (double)(ends_at - begins_at) / SECOND, cpu, answers, tokens, broken,
           quantile_us(.5), quantile_us(.99));
}

static void run_requests(int connections, double seconds) {
    write_question(false, 16, 0, 0);
    for (int i = 0; i < connections; i++) open_client(&clients[i]);
    measure(seconds, true);
}

static void run_streams(int connections, long long every_us, double seconds) {
    write_question(true, 1000000000, every_us, 0);
    int64_t give_up_at = now_ns() + OPENING_S * SECOND;
    for (int i = 0; i < connections;) {
        if (i - begun < OPENING_MAX) open_client(&clients[i++]);
        else turn(false);
        if (now_ns() > give_up_at) broken++, i = connections;
    }
    while (begun < connections && now_ns() < give_up_at) turn(false);
    measure(seconds, false);
}

/* ---- one at a time, blocking ---- */

static void run_burst(long long count) {
    struct client one = {.fd = dial()};
    write_question(true, count, 0, 0);
    begins_at = now_ns();
    ask(&one);
    long long cpu = cpu_ns();
    while (one.part != WHOLE)
        if (!read_some(&one)) die("the stream broke");
    double seconds = (double)(now_ns() - begins_at) / SECOND;
    printf("{\"seconds\": %.6f, \"cpu_ns\": %lld, \"tokens\": %lld}\n", seconds, cpu_ns() - cpu, tokens);
}

static void pace(int64_t begun_at, long long done, long long rate) {
    int64_t ahead = rate ? begun_at + (int64_t)((double)done / rate * SECOND) - now_ns() : 0;
    if (ahead > 0) usleep(ahead / 1000);
}

static void run_download(long long bytes, long long rate) {
    static char data[RECEIVE];
    char head[512];
    struct client one = {.fd = dial()};
    int size = snprintf(head, sizeof head, "GET %s/download?bytes=%lld HTTP/1.1\r\n"
                        "Host: localhost\r\n\r\n", path, bytes);
    long long got = 0;
    int64_t begun_at = now_ns();
    send_all(one.fd, head, size);
    while (one.part == HEAD)
        if (!read_some(&one)) die("no answer");
    for (got = bytes - one.left; got < bytes;) {
        ssize_t more = recv(one.fd, data, sizeof data, 0);
        if (more <= 0) die("the answer broke");
        got += more;
        pace(begun_at, got, rate);
    }
    printf("{\"seconds\": %.6f, \"bytes\": %lld}\n", (double)(now_ns() - begun_at) / SECOND, got);
}

static void run_upload(long long bytes, long long rate) {
    static char zeros[RECEIVE];
    char head[512];
    struct client one = {.fd = dial()};
    int size = snprintf(head, sizeof head, "POST %s/upload?rate=%lld HTTP/1.1\r\n"
                        "Host: localhost\r\nContent-Length: %lld\r\n\r\n", path, rate, bytes);
    int64_t begun_at = now_ns();
    send_all(one.fd, head, size);
    for (long long left = bytes; left;) {
        size_t piece = left < RECEIVE ? left : RECEIVE;
        send_all(one.fd, zeros, piece);
        left -= piece;
    }
    while (one.part != WHOLE)
        if (!read_some(&one)) die("no answer");
    printf("{\"seconds\": %.6f, \"bytes\": %lld}\n", (double)(now_ns() - begun_at) / SECOND, bytes);
}

static void run_cancel(long long times, long long first) {
    for (long long id = first; id < first + times; id++) {
        struct client one = {.fd = dial()};
        write_question(true, 1000, 100000, id);
        ask(&one);
        while (!one.begun)
            if (!read_some(&one)) die("the stream broke");
        usleep(1000);
        int64_t left_at = now_ns();
        close(one.fd);
        printf("left %lld %lld\n", id, (long long)left_at);
    }
    printf("{\"times\": %lld}\n", times);
}

int main(int count, char **words) {
    long long connections = 1, every_us = 0, bytes = 0, rate = 0, times = 0, first = 1, many = 0;
    double seconds = 1;
    for (int i = 2; i < count; i++) {
        char *value = strchr(words[i], '=');
        if (!value) die(words[i]);
        *value++ = 0;
#define IS(name) !strcmp(words[i], name)
        if (IS("port")) port = atoi(value);
        else if (IS("model")) model = value;
        else if (IS("path")) path = value;
        else if (IS("pids")) pids = value;
        else if (IS("connections")) connections = atoll(value);
        else if (IS("every_us")) every_us = atoll(value);
        else if (IS("seconds")) seconds = atof(value);
        else if (IS("bytes")) bytes = atoll(value);
        else if (IS("rate")) rate = atoll(value);
        else if (IS("times")) times = atoll(value);
        else if (IS("first")) first = atoll(value);
        else if (IS("tokens")) many = atoll(value);
        else die(words[i]);
    }
    loop = epoll_create1(0);
    clients = calloc(connections, sizeof *clients);
    samples = malloc(SAMPLES_MAX * sizeof *samples);
    const char *mode = count > 1 ? words[1] : "";
    if (!strcmp(mode, "requests")) run_requests(connections, seconds);
    else if (!strcmp(mode, "streams")) run_streams(connections, every_us, seconds);
    else if (!strcmp(mode, "burst")) run_burst(many);
    else if (!strcmp(mode, "download")) run_download(bytes, rate);
    else if (!strcmp(mode, "upload")) run_upload(bytes, rate);
    else if (!strcmp(mode, "cancel")) run_cancel(times, first);
    else die("no such mode");
    return 0;
}
