/* An inference server that costs next to nothing: what a proxy adds shows best in front of it.
 *
 *     upstream
 *
 * listens on a free port of loopback, prints "port N", and answers by the end of the path:
 *
 *   .../download?bytes=N   N bytes
 *   .../upload             reads a body of any size, then answers; ?rate=N: N bytes a second
 *   anything else          a chat completion; if the body says so, a stream of them:
 *
 *     "stream":true        one chunk of 280 bytes a token, one write each
 *     "max_tokens":N       so many tokens
 *     "every_us":N         so far apart; 0: as fast as they are taken
 *     "id":N               when the client leaves in the middle, "left N AT" is printed
 *
 * Each token of a stream is the time at which it was written, in nanoseconds.
 */
#include "wire.h"
#include <stdbool.h>
#include <sys/timerfd.h>

#define HEAD_MAX 65536
#define TURN 65536 /* Bytes that one connection may write or read before the next has its turn. */
#define EVENT 280
#define DIGITS 20

struct connection {
    int fd;
    char head[HEAD_MAX + 1]; /* What has come, until head and body of a question are complete. */
    size_t have;
    long long id, tokens, every; /* The stream: tokens left, nanoseconds between two. */
    long long down, up;          /* Bytes left to write, and to read. */
    long long rate;              /* Bytes a second to read. */
    int64_t due_at;              /* For the next token, or the next reading. */
    struct connection *before, *after;
    bool waits, writes, started;
    char left[EVENT + 64]; /* What the socket did not take. */
    size_t left_size;
};

static int loop, alarm_fd;
static struct connection timers = {.before = &timers, .after = &timers}; /* By the time due. */
static char zeros[TURN];

static void set_alarm(void) {
    struct itimerspec at = {0};
    if (timers.after != &timers) {
        int64_t due = timers.after->due_at;
        at.it_value.tv_sec = due / SECOND;
        at.it_value.tv_nsec = due % SECOND + !due;
    }
    timerfd_settime(alarm_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void forget(struct connection *one) {
    if (!one->waits) return;
    one->before->after = one->after;
    one->after->before = one->before;
    one->waits = false;
}

/* Most are due last: with one interval for all, the search from the end is no search. */
static void wait_until(struct connection *one, int64_t due_at) {
    struct connection *place = timers.before;
    one->due_at = due_at;
    while (place != &timers && place->due_at > due_at) place = place->before;
    one->before = place;
    one->after = place->after;
    place->after->before = one;
    place->after = one;
    one->waits = true;
    if (place == &timers) set_alarm();
}

static void listen_for(struct connection *one, uint32_t what) {
    struct epoll_event event = {.events = what, .data.ptr = one};
    epoll_ctl(loop, EPOLL_CTL_MOD, one->fd, &event);
}

static void close_it(struct connection *one) {
    if (one->tokens && one->id) {
        printf("left %lld %lld\n", one->id, (long long)now_ns());
        fflush(stdout);
    }
    forget(one);
    close(one->fd);
    one->fd = -1; /* Freed after the turn: another event of it may be in hand. */
}

/* Write all, or keep what was not taken for later; false: it must wait. */
static bool put(struct connection *one, const char *data, size_t size) {
    ssize_t sent = send(one->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) {
            close_it(one);
            return false;
        }
        sent = 0;
    }
    if ((size_t)sent == size) return true;
    one->left_size = size - sent;
    memmove(one->left, data + sent, one->left_size);
    if (!one->writes) listen_for(one, EPOLLIN | EPOLLOUT);
    one->writes = true;
    return false;
}

static const char *const EVENT_HEAD = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\","
    "\"created\":1700000000,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"";
static const char *const EVENT_TAIL = "},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";

static char chunk[EVENT + 16]; /* Size, event, and what follows; made once but for the time. */
static char *chunk_digits;

static void make_chunk(void) {
    int tail = strlen(EVENT_TAIL);
    int size = sprintf(chunk, "%x\r\n%s", EVENT, EVENT_HEAD);
    chunk_digits = chunk + size;
    memset(chunk_digits, ' ', 5 + EVENT - size);
    memcpy(chunk + 5 + EVENT - tail, EVENT_TAIL, tail);
    memcpy(chunk_digits + DIGITS, "\"", 1); /* The string ends here; the JSON may hold spaces. */
}

/* One token, as a chunk; the last one brings the end. */
static bool put_token(struct connection *one) {
    int64_t now = now_ns();
    for (int i = DIGITS; i--; now /= 10) chunk_digits[i] = '0' + now % 10;
    const char *end = --one->tokens ? "\r\n" : "\r\n0\r\n\r\n";
    strcpy(chunk + 5 + EVENT, end);
    return put(one, chunk, 5 + EVENT + strlen(end));
}

static void put_tokens(struct connection *one) {
    if (one->every) {
        if (put_token(one) && one->tokens) wait_until(one, one->due_at + one->every);
        return;
    }
    int turn = TURN / EVENT;
    while (one->tokens && turn--)
        if (!put_token(one)) return;
    if (!one->writes) listen_for(one, EPOLLIN | EPOLLOUT);
    one->writes = true;
}

static void answer(struct connection *one, const char *body) {
    char text[1024];
    int size = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    put(one, text, size);
}

static long long number(const char *text, const char *name, long long otherwise) {
    const char *found = text ? strstr(text, name) : NULL;
    return found ? atoll(found + strlen(name) + strspn(found + strlen(name), " ")) : otherwise;
}

/* A whole head and, but for uploads, a whole body are here. */
static void begin(struct connection *one, const char *body) {
    if (!strstr(body, "\"stream\":true") && !strstr(body, "\"stream\": true")) {
        answer(one, "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,"
               "\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
               "\"content\":\"Once upon a time.\"},\"finish_reason\":\"stop\"}],\"usage\":"
               "{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}");
        return;
    }
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        "Transfer-Encoding: chunked\r\n\r\n";
    one->id = number(body, "\"id\":", 0);
    one->tokens = number(body, "\"max_tokens\":", 1);
    one->every = number(body, "\"every_us\":", 0) * 1000;
    one->due_at = now_ns();
    if (put(one, head, sizeof head - 1)) put_tokens(one);
}

static void begin_download(struct connection *one, const char *target) {
    char head[256];
    one->down = number(target, "bytes=", 0);
    int size = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: "
                        "application/octet-stream\r\nContent-Length: %lld\r\n\r\n", one->down);
    if (put(one, head, size)) listen_for(one, EPOLLIN | EPOLLOUT), one->writes = true;
}

static void uploaded(struct connection *one) {
    if (!one->up) answer(one, "{\"read\":true}");
}

static void read_upload(struct connection *one) {
    static char nowhere[TURN];
    long long turn = one->up < TURN ? one->up : TURN;
    ssize_t got = recv(one->fd, nowhere, turn, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        close_it(one);
        return;
    }
    if (got > 0) one->up -= got;
    if (one->rate && one->up && got > 0) {
        listen_for(one, 0);
        wait_until(one, one->due_at + got * SECOND / one->rate);
    }
    if (got > 0) uploaded(one);
}

/* Take the questions that are complete; several may have come at once. */
static void take(struct connection *one) {
    while (one->fd >= 0 && !one->tokens && !one->down && !one->up) {
        one->head[one->have] = 0;
        char *end = strstr(one->head, "\r\n\r\n");
        if (!end) {
            if (one->have == HEAD_MAX) close_it(one);
            return;
        }
        *end = 0;
        const char *length = header(one->head, "\r\ncontent-length:");
        size_t size = length ? strtoull(length, NULL, 10) : 0;
        size_t head_size = end + 4 - one->head, here = one->have - head_size;
        char *target = strchr(one->head, ' '), *target_end = target ? strchr(target + 1, ' ') : NULL;
        if (!target_end) {
            close_it(one);
            return;
        }
        *target_end = 0;
        bool upload = strstr(target, "/upload") != NULL;
        if (!upload && here < size) { /* Not yet: undo the cuts. */
            *end = '\r';
            *target_end = ' ';
            if (head_size + size > HEAD_MAX) close_it(one);
            return;
        }
        size_t used = head_size + (here < size ? here : size);
        char after = one->head[used];
        one->head[used] = 0;
        if (upload) {
            one->up = size - (used - head_size);
            one->rate = number(target, "rate=", 0);
            one->due_at = now_ns();
            uploaded(one);
        } else if (strstr(target, "/download"))
            begin_download(one, target);
        else
            begin(one, one->head + head_size);
        one->head[used] = after;
        one->have -= used;
        memmove(one->head, one->head + used, one->have);
    }
}

static void readable(struct connection *one) {
    if (one->up) {
        read_upload(one);
        return;
    }
    ssize_t got = HEAD_MAX > one->have ? recv(one->fd, one->head + one->have, HEAD_MAX - one->have, 0) : -1;
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        close_it(one);
        return;
    }
    if (got > 0) one->have += got;
    take(one);
}

static void writable(struct connection *one) {
    if (one->left_size) {
        size_t size = one->left_size;
        one->left_size = 0;
        if (!put(one, one->left, size)) return;
        if (one->tokens && one->every) wait_until(one, one->due_at + one->every);
    }
    if (one->down) {
        long long turn = one->down < TURN ? one->down : TURN;
        ssize_t sent = send(one->fd, zeros, turn, MSG_NOSIGNAL);
        if (sent > 0) one->down -= sent;
        else if (errno != EAGAIN) close_it(one);
    } else if (one->tokens && !one->every)
        put_tokens(one);
    if (one->fd >= 0 && !one->left_size && !one->down && !(one->tokens && !one->every)) {
        listen_for(one, EPOLLIN);
        one->writes = false;
        take(one);
    }
}

static void due(void) {
    uint64_t times;
    int64_t now = now_ns();
    if (read(alarm_fd, &times, sizeof times) < 0) { /* It had been set anew. */ }
    while (timers.after != &timers && timers.after->due_at <= now) {
        struct connection *one = timers.after;
        forget(one);
        if (one->up) listen_for(one, EPOLLIN);
        else put_tokens(one);
        if (one->fd < 0) free(one);
    }
    set_alarm();
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *one = calloc(1, sizeof *one);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
        one->fd = fd;
        make_prompt(fd);
        epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(void) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&address, size) || listen(listener, 4096)) die("listen");
    getsockname(listener, (void *)&address, &size);
    make_chunk();
    loop = epoll_create1(0);
    alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener}, events[256];
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &alarm_fd;
    epoll_ctl(loop, EPOLL_CTL_ADD, alarm_fd, &event);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        bool alarmed = false;
        int count = epoll_wait(loop, events, 256, -1);
        for (int i = 0; i < count; i++) {
            struct connection *one = events[i].data.ptr;
            if (events[i].data.ptr == &listener) accept_all(listener);
            else if (events[i].data.ptr == &alarm_fd) alarmed = true;
            else {
                if (events[i].events & EPOLLOUT) writable(one);
                if (one->fd >= 0 && events[i].events & ~EPOLLOUT) readable(one);
                if (one->fd < 0) free(one);
            }
        }
        if (alarmed) due();
    }
}
