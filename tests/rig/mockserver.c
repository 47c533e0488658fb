/* A scripted inference server for tests: it answers as llama-server does, and fails when told to.
 *
 * One thread per connection, no library but libc; as a static binary it is a whole image by itself.
 * Every setting comes from the environment; those marked with * may also be given per request, by
 * query (`?TOKENS=3`) or by header (`X-Mock: TOKENS=3;TOKEN_MS=5`), the query first.
 *
 *   HOST=0.0.0.0 PORT=8080  where to listen
 *   MODEL=mock              the name in /v1/models and in answers
 *   LOAD_MS=0               how long loading takes
 *   LOAD_MODE=503           503: listen at once, answer 503 while loading; refuse: listen when loaded
 *   LOAD_EXIT=              exit with this code at the end of loading
 *   LOAD_OOM=0              1: print llama.cpp's lines for a full GPU while loading, exit 1
 *   HOG_MIB=0               touch so much memory while loading
 *   VRAM_MIB=0              claim so much of each of its fake GPUs while loading (fake_gpu.h says
 *                           where they are); where it does not fit, say what llama.cpp says, exit 1
 *   VRAM_ASLEEP_MIB=0       hold so much of each while it sleeps
 *   VRAM_DEVICES=           its GPUs, such as 0,1; else those of CUDA_VISIBLE_DEVICES, else 0
 *   VRAM_AS=pid             how the fake driver finds it: pid, or, in a container, host (its host name)
 *   FIRST_MS=0 *            delay before the first token
 *   TOKEN_MS=0 *            delay before every further token
 *   TOKENS=8 *              tokens in an answer; `max_tokens` in the body lowers it
 *   CRASH_AT_TOKEN=0 *      die by a segmentation fault instead of sending token n (from 1)
 *   HANG_AT_TOKEN=0 *       go silent instead of sending token n
 *   STATUS=0 *              answer completions and embeddings with this status and an error body
 *   IGNORE_TERM=0           1: ignore SIGTERM
 *   TERM_MS=0               take so long to end after SIGTERM
 *   RECORD=                 a file: a line "begin MODEL PID" at the start, and "end MODEL PID ANSWERS"
 *                           as the last thing done on SIGTERM
 *
 * Paths: /health /v1/models /v1/chat/completions /v1/completions /v1/embeddings
 *   /mock/echo (any method: the request's head as it came, then its body, without chunk framing)
 *   /mock/log?TEXT=words    log a line
 *   /mock/crash  /mock/exit?CODE=3  /mock/hog?MIB=64  /mock/hang (no answer until the client leaves)
 *   /mock/unhealthy (from now on /health hangs)
 *   /mock/sleep /mock/wake (any method; asleep it answers /health with 503, and holds
 *   VRAM_ASLEEP_MIB of each of its fake GPUs)
 */
#define _GNU_SOURCE
#include "fake_gpu.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MIB (1024L * 1024L)
#define HEAD_MAX (64L * 1024L)
#define BODY_MAX (256 * MIB)

static atomic_int loaded, unhealthy, asleep;
static atomic_long answers;

/* ---- small tools ---- */

static const char *text_setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static long setting(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value && *value ? atol(value) : otherwise;
}

/* One write per line, so that lines of several threads do not mix. */
static void say(const char *format, ...) {
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length > (int)sizeof line - 2) length = sizeof line - 2;
    line[length++] = '\n';
    if (write(2, line, length) < 0) { /* nobody listens: go on */ }
}

static void pause_ms(long ms) {
    struct timespec left = {ms / 1000, (ms % 1000) * 1000000L};
    while (ms > 0 && nanosleep(&left, &left) && errno == EINTR) {}
}

/* A real fault: as PID 1 of a container, raise(SIGSEGV) and abort() would be ignored. */
static void __attribute__((noreturn)) crash(void) {
    say("crashing, as told");
    *(volatile int *)0 = 1;
    __builtin_trap();
}

static void hog(long mib) {
    if (mib <= 0) return;
    say("touching %ld MiB", mib);
    for (long i = 0; i < mib; i++) {
        char *page = mmap(0, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) { say("mmap failed"); return; }
        for (long j = 0; j < MIB; j += 4096) page[j] = (char)(i + j + 1);
    }
}

/* ---- memory of fake GPUs ---- */

static void __attribute__((noreturn)) out_of_vram(double mib, int device) {
    say("ggml_backend_cuda_buffer_type_alloc_buffer: allocating %.2f MiB on device %d: "
        "cudaMalloc failed: out of memory", mib, device);
    say("error: unable to load model");
    _exit(1);
}

/* By this name the driver finds the process: a container's host name is its id, cut short. */
static const char *holder_name(void) {
    static char name[64];
    if (strcmp(text_setting("VRAM_AS", "pid"), "host") || gethostname(name, sizeof name - 1))
        snprintf(name, sizeof name, "pid%d", getpid());
    return name;
}

static void claim_vram(long mib) {
    char path[PATH_SIZE], hidden[PATH_SIZE], file[80], devices[128], text[1024] = "";
    struct gpu gpus[GPUS_MAX];
    if (mib <= 0) return;
    int count = read_gpus(gpus);
    if (!fake_path(path, "lock") || count < 0) { say("no fake GPUs to claim"); _exit(1); }
    int one_at_a_time = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    flock(one_at_a_time, LOCK_EX);
    snprintf(devices, sizeof devices, "%s",
             text_setting("VRAM_DEVICES", text_setting("CUDA_VISIBLE_DEVICES", "0")));
    char *rest = devices;
    for (char *word; (word = strsep(&rest, ","));) {
        int number = atoi(word), fits = 0;
        for (int i = 0; i < count; i++)
            fits |= gpus[i].number == number && free_of(&gpus[i]) >= (bytes)(mib * MIB);
        if (!fits) out_of_vram(mib, number);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d %ld\n", number, mib * MIB);
    }
    /* Seen only when complete and locked; the lock lives and dies with this process. */
    snprintf(file, sizeof file, "alloc/.%s", holder_name());
    fake_path(hidden, file);
    snprintf(file, sizeof file, "alloc/%s", holder_name());
    fake_path(path, file);
    int held = open(hidden, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    flock(held, LOCK_EX);
    if (write(held, text, strlen(text)) < 0 || rename(hidden, path)) { say("cannot claim"); _exit(1); }
    close(one_at_a_time);
    say("holding %ld MiB of each of the GPUs %s", mib,
        text_setting("VRAM_DEVICES", text_setting("CUDA_VISIBLE_DEVICES", "0")));
}

/* What it holds from now on, asleep or awake again. */
static void hold_vram(long mib) {
    char path[PATH_SIZE], file[80];
    if (setting("VRAM_MIB", 0) <= 0) return;
    snprintf(file, sizeof file, "alloc/%s", holder_name());
    if (fake_path(path, file)) unlink(path);
    claim_vram(mib);
}

/* ---- requests ---- */

struct request {
    int fd;
    char method[16], path[2048];
    char *query;        /* inside path, without the question mark; "" if none */
    char *head;         /* the request line and all headers, as they came */
    long head_length;
    char *body;         /* without chunk framing; ends in a zero byte */
    long body_length;
};

/* Find `name=` at the start of a word in a list such as `a=1&b=2` or `a=1;b=2`. */
static const char *find_word(const char *list, const char *end, const char *name) {
    size_t length = strlen(name);
    for (const char *at = list; at && at < end; at++) {
        int starts = at == list || strchr("&; \t:", at[-1]);
        if (starts && !strncmp(at, name, length) && at[length] == '=') return at + length + 1;
    }
    return 0;
}

static const char *header(const struct request *request, const char *name, const char **end) {
    char start[64];
    snprintf(start, sizeof start, "\r\n%s:", name);
    const char *found = strcasestr(request->head, start);
    if (!found) return 0;
    found += strlen(start);
    *end = strstr(found, "\r\n");
    return found;
}

static long option(const struct request *request, const char *name, long otherwise) {
    const char *end, *list, *found;
    found = find_word(request->query, request->query + strlen(request->query), name);
    if (!found && (list = header(request, "X-Mock", &end))) found = find_word(list, end, name);
    return found ? atol(found) : setting(name, otherwise);
}

static int send_all(int fd, const char *data, size_t length) {
    while (length) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        data += sent;
        length -= sent;
    }
    return 0;
}

static int reply(const struct request *request, int status, const char *type, const char *body,
                 size_t length) {
    char head[256];
    const char *reason = status == 200 ? "OK" : status == 404 ? "Not Found"
                       : status == 503 ? "Service Unavailable" : "Other";
    int size = snprintf(head, sizeof head,
                        "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                        status, reason, type, length);
    if (send_all(request->fd, head, size)) return -1;
    return strcmp(request->method, "HEAD") ? send_all(request->fd, body, length) : 0;
}

static int reply_json(const struct request *request, int status, const char *format, ...) {
    char body[8192];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(body, sizeof body, format, arguments);
    va_end(arguments);
    if (length > (int)sizeof body - 1) length = sizeof body - 1;
    return reply(request, status, "application/json", body, length);
}

static int reply_error(const struct request *request, int status, const char *message,
                       const char *type) {
    return reply_json(request, status,
                      "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"code\":%d}}", message, type,
                      status);
}

/* Wait, but notice at once when the client closes: returns -1 then.  ms < 0: wait for that alone. */
static int wait_or_gone(int fd, long ms) {
    struct pollfd watched = {fd, POLLRDHUP, 0};
    if (ms == 0) return 0;
    return poll(&watched, 1, ms < 0 ? -1 : (int)ms) > 0 ? -1 : 0;
}

static int send_chunk(int fd, const char *data) {
    char framed[4096];
    int length = snprintf(framed, sizeof framed, "%zx\r\n%s\r\n", strlen(data), data);
    return send_all(fd, framed, length);
}

/* ---- completions ---- */

static const char *WORDS[] = {"Once", " upon", " a", " time", " there", " was", " a", " mock", "."};
#define WORD(i) WORDS[(i) % (sizeof WORDS / sizeof *WORDS)]

/* Wait for token `i` (from 0), with every misfortune that is planned for it. */
static int next_token(const struct request *request, long i) {
    if (wait_or_gone(request->fd, option(request, i ? "TOKEN_MS" : "FIRST_MS", 0))) return -1;
    if (option(request, "CRASH_AT_TOKEN", 0) == i + 1) crash();
    if (option(request, "HANG_AT_TOKEN", 0) == i + 1) return wait_or_gone(request->fd, -1);
    return 0;
}

static int gone(long id, long sent) {
    say("client gone after %ld tokens (answer %ld)", sent, id);
    return -1;
}

static int stream(const struct request *request, long id, long tokens, int chat) {
    const char *model = text_setting("MODEL", "mock");
    const char *object = chat ? "chat.completion.chunk" : "text_completion";
    const char *head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                       "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    char event[2048], choice[512];
    if (send_all(request->fd, head, strlen(head))) return gone(id, 0);
    for (long i = 0; i < tokens; i++) {
        if (next_token(request, i)) return gone(id, i);
        snprintf(choice, sizeof choice, chat ? "\"delta\":{\"content\":\"%s\"}" : "\"text\":\"%s\"",
                 WORD(i));
        snprintf(event, sizeof event,
                 "data: {\"id\":\"mock-%ld\",\"object\":\"%s\",\"created\":%ld,\"model\":\"%s\","
                 "\"choices\":[{\"index\":0,%s,\"finish_reason\":null}]}\n\n",
                 id, object, (long)time(0), model, choice);
        if (send_chunk(request->fd, event)) return gone(id, i);
    }
    snprintf(event, sizeof event,
             "data: {\"id\":\"mock-%ld\",\"object\":\"%s\",\"created\":%ld,\"model\":\"%s\","
             "\"choices\":[{\"index\":0,%s,\"finish_reason\":\"stop\"}],\"usage\":"
             "{\"prompt_tokens\":7,\"completion_tokens\":%ld,\"total_tokens\":%ld}}\n\n",
             id, object, (long)time(0), model, chat ? "\"delta\":{}" : "\"text\":\"\"", tokens,
             tokens + 7);
    if (send_chunk(request->fd, event) || send_chunk(request->fd, "data: [DONE]\n\n") ||
        send_all(request->fd, "0\r\n\r\n", 5))
        return gone(id, tokens);
    return 0;
}

static int whole(const struct request *request, long id, long tokens, int chat) {
    char words[4096] = "", choice[5000];
    for (long i = 0; i < tokens; i++) {
        if (next_token(request, i)) return gone(id, i);
        if (strlen(words) < sizeof words - 16) strcat(words, WORD(i));
    }
    snprintf(choice, sizeof choice,
             chat ? "\"message\":{\"role\":\"assistant\",\"content\":\"%s\"}" : "\"text\":\"%s\"",
             words);
    return reply_json(request, 200,
                      "{\"id\":\"mock-%ld\",\"object\":\"%s\",\"created\":%ld,\"model\":\"%s\","
                      "\"choices\":[{\"index\":0,%s,\"finish_reason\":\"stop\"}],\"usage\":"
                      "{\"prompt_tokens\":7,\"completion_tokens\":%ld,\"total_tokens\":%ld}}",
                      id, chat ? "chat.completion" : "text_completion", (long)time(0),
                      text_setting("MODEL", "mock"), choice, tokens, tokens + 7);
}

/* The value after `"key":` in the body, by plain search: our own tests write no trick JSON. */
static const char *body_value(const struct request *request, const char *key) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const char *at = strstr(request->body, quoted);
    if (!at || !(at = strchr(at + strlen(quoted), ':'))) return "";
    while (isspace((unsigned char)*++at)) {}
    return at;
}

static int complete(const struct request *request, int chat) {
    long id = ++answers, tokens = option(request, "TOKENS", 8);
    long tokens_max = atol(body_value(request, "max_tokens"));
    if (tokens_max > 0 && tokens_max < tokens) tokens = tokens_max;
    int streamed = !strncmp(body_value(request, "stream"), "true", 4);
    return (streamed ? stream : whole)(request, id, tokens, chat);
}

/* ---- routing ---- */

static int answer_mock(const struct request *request, const char *what) {
    if (!strcmp(what, "echo")) {
        char *both = malloc(request->head_length + request->body_length);
        memcpy(both, request->head, request->head_length);
        memcpy(both + request->head_length, request->body, request->body_length);
        int result = reply(request, 200, "text/plain", both,
                           request->head_length + request->body_length);
        free(both);
        return result;
    }
    if (!strcmp(what, "crash")) crash();
    if (!strcmp(what, "exit")) { say("leaving, as told"); _exit((int)option(request, "CODE", 1)); }
    if (!strcmp(what, "hang")) return wait_or_gone(request->fd, -1);
    if (!strcmp(what, "hog")) hog(option(request, "MIB", 64));
    else if (!strcmp(what, "unhealthy")) unhealthy = 1;
    else if (!strcmp(what, "sleep")) { asleep = 1; hold_vram(setting("VRAM_ASLEEP_MIB", 0)); }
    else if (!strcmp(what, "wake")) { hold_vram(setting("VRAM_MIB", 0)); asleep = 0; }
    else if (!strcmp(what, "log")) say("%s", request->query);
    else return reply_error(request, 404, "no such path", "not_found_error");
    return reply_json(request, 200, "{}");
}

static int answer(const struct request *request) {
    const char *path = request->path;
    if (!strcmp(path, "/health") && unhealthy) return wait_or_gone(request->fd, -1);
    if (!strncmp(path, "/mock/", 6)) return answer_mock(request, path + 6);
    if (!loaded) return reply_error(request, 503, "Loading model", "unavailable_error");
    if (asleep) return reply_error(request, 503, "Sleeping", "unavailable_error");
    if (!strcmp(path, "/health")) return reply_json(request, 200, "{\"status\":\"ok\"}");
    if (!strcmp(path, "/v1/models"))
        return reply_json(request, 200, "{\"object\":\"list\",\"data\":[{\"id\":\"%s\","
                          "\"object\":\"model\",\"owned_by\":\"mock\"}]}",
                          text_setting("MODEL", "mock"));
    int status = (int)option(request, "STATUS", 0);
    if (status) return reply_error(request, status, "failing, as told", "server_error");
    if (!strcmp(path, "/v1/chat/completions")) return complete(request, 1);
    if (!strcmp(path, "/v1/completions")) return complete(request, 0);
    if (!strcmp(path, "/v1/embeddings"))
        return reply_json(request, 200,
                          "{\"object\":\"list\",\"model\":\"%s\",\"data\":[{\"object\":\"embedding\","
                          "\"index\":0,\"embedding\":[0.1,0.2,0.3]}],"
                          "\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}",
                          text_setting("MODEL", "mock"));
    return reply_error(request, 404, "File Not Found", "not_found_error");
}

/* ---- connections ---- */

struct input {
    int fd;
    char *data;         /* what came and is not used up; always ends in a zero byte */
    long length, size;
};

static int read_more(struct input *input) {
    if (input->length + 1 >= input->size) {
        input->size = input->size ? input->size * 2 : 16384;
        input->data = realloc(input->data, input->size);
    }
    ssize_t got = recv(input->fd, input->data + input->length, input->size - input->length - 1, 0);
    if (got <= 0) return -1;
    input->length += got;
    input->data[input->length] = 0;
    return 0;
}

static void use_up(struct input *input, long length) {
    memmove(input->data, input->data + length, input->length - length + 1);
    input->length -= length;
}

/* Move `length` bytes of input to the end of the body. */
static int take(struct input *input, struct request *request, long length) {
    if (length < 0 || request->body_length + length > BODY_MAX) return -1;
    while (input->length < length)
        if (read_more(input)) return -1;
    request->body = realloc(request->body, request->body_length + length + 1);
    memcpy(request->body + request->body_length, input->data, length);
    request->body_length += length;
    request->body[request->body_length] = 0;
    use_up(input, length);
    return 0;
}

/* Read one line and return the number that it starts with, in base 16; -1 on failure. */
static long take_chunk_size(struct input *input) {
    char *end;
    while (!(end = strstr(input->data, "\r\n")))
        if (input->length > HEAD_MAX || read_more(input)) return -1;
    long size = strtol(input->data, 0, 16);
    use_up(input, end + 2 - input->data);
    return size;
}

static int read_body(struct input *input, struct request *request) {
    const char *end, *value;
    request->body = calloc(1, 1);
    request->body_length = 0;
    if ((value = header(request, "Expect", &end))) {
        const char *go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        if (send_all(input->fd, go_on, strlen(go_on))) return -1;
    }
    value = header(request, "Transfer-Encoding", &end);
    if (!value) {
        value = header(request, "Content-Length", &end);
        return take(input, request, value ? atol(value) : 0);
    }
    for (;;) {
        long size = take_chunk_size(input);
        if (size < 0 || take(input, request, size)) return -1;
        if (take_chunk_size(input) < 0) return -1; /* the empty line; we know no trailers */
        if (size == 0) return 0;
    }
}

/* Read, answer and forget one request.  Returns 0 when the connection may be used again. */
static int serve_one(struct input *input) {
    struct request request = {.fd = input->fd, .query = ""};
    char *end;
    while (!input->data || !(end = strstr(input->data, "\r\n\r\n")))
        if (input->length > HEAD_MAX || read_more(input)) return -1;
    request.head_length = end + 4 - input->data;
    request.head = strndup(input->data, request.head_length);
    use_up(input, request.head_length);
    int result = -1;
    if (sscanf(request.head, "%15s %2047s", request.method, request.path) == 2) {
        char *query = strchr(request.path, '?');
        if (query) { *query = 0; request.query = query + 1; }
        result = read_body(input, &request) || answer(&request);
    }
    const char *value = header(&request, "Connection", (const char **)&end);
    if (value && (value = strcasestr(value, "close")) && value < end) result = -1;
    free(request.head);
    free(request.body);
    return result;
}

static void *serve(void *argument) {
    struct input input = {.fd = (int)(long)argument};
    int on = 1;
    setsockopt(input.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (!serve_one(&input)) {}
    free(input.data);
    close(input.fd);
    return 0;
}

/* ---- life ---- */

/* One write per line: the lines of all servers stand in the order in which they were written. */
static void record(const char *format, ...) {
    const char *path = text_setting("RECORD", "");
    char line[256];
    if (!*path) return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0 || write(file, line, length) != length) { say("cannot record"); _exit(1); }
    close(file);
}

static int listen_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    long port = setting("PORT", 8080);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port),
                                  .sin_addr.s_addr = inet_addr(text_setting("HOST", "0.0.0.0"))};
    if (bind(fd, (void *)&address, sizeof address) || listen(fd, 1024)) {
        say("couldn't bind HTTP server socket, port %ld: %s", port, strerror(errno));
        _exit(1);
    }
    return fd;
}

static void *load(void *unused) {
    (void)unused;
    say("loading model %s", text_setting("MODEL", "mock"));
    hog(setting("HOG_MIB", 0));
    claim_vram(setting("VRAM_MIB", 0));
    pause_ms(setting("LOAD_MS", 0));
    if (setting("LOAD_OOM", 0)) out_of_vram(9216, 0);
    if (*text_setting("LOAD_EXIT", "")) {
        say("loading failed, as told");
        _exit((int)setting("LOAD_EXIT", 1));
    }
    loaded = 1;
    return 0;
}

static void *await_term(void *argument) {
    int signal_number;
    sigwait(argument, &signal_number);
    pause_ms(setting("TERM_MS", 0));
    say("ending on signal %d", signal_number);
    record("end %s %d %ld\n", text_setting("MODEL", "mock"), getpid(), answers);
    _exit(0);
}

int main(void) {
    static sigset_t term;
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 256 * 1024);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigaddset(&term, SIGINT);
    pthread_sigmask(SIG_BLOCK, &term, 0); /* blocked for all: IGNORE_TERM needs nothing more */
    if (!setting("IGNORE_TERM", 0)) pthread_create(&thread, &detached, await_term, &term);

    record("begin %s %d\n", text_setting("MODEL", "mock"), getpid());
    int listener;
    if (!strcmp(text_setting("LOAD_MODE", "503"), "refuse")) {
        load(0);
        listener = listen_socket();
    } else {
        listener = listen_socket();
        pthread_create(&thread, &detached, load, 0);
    }
    say("server is listening on port %ld", setting("PORT", 8080));
    for (;;) {
        int fd = accept4(listener, 0, 0, SOCK_CLOEXEC);
        if (fd < 0) { pause_ms(errno == EINTR ? 0 : 10); continue; }
        if (pthread_create(&thread, &detached, serve, (void *)(long)fd)) close(fd);
    }
}
