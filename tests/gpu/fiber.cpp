// Runs the blocks of a kernel on one core: a server that tests/gpu/harness.py talks to.
//
// The threads of a block are fibers: each runs until it reaches a barrier, a product of its warp, or its end, then the
// next. A launch is repeated with threads and blocks in other orders, so that what hangs on the order of threads comes
// out different. Shared memory holds NaN when a block starts. Arrays lie in blocks of memory of exactly their size, and
// AddressSanitizer watches their ends.

#include "cuda.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace harness {

enum class Wait { none, warp, block, ended };

struct Copy {
    void* to;
    const void* from;
    int bytes;
};

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    dim3 index;
    Wait wait;
    int line;          // of the barrier that it waits at
    std::vector<Copy> copies;
    unsigned products;  // of its warp that it has taken part in
};

static const unsigned WARP = 32;

static const size_t STACK = 64 * 1024;
static std::vector<Fiber> fibers;
static std::vector<Fragment> fragments[2];  // a thread may be one product ahead of its warp, not two
static Fiber* running;
static ucontext_t scheduler;
static const void* scheduler_stack;
static size_t scheduler_size;
static Call kernel;
static void** arguments;
static std::string failure;

// The second half of a switch: AddressSanitizer is told which stack is in use.
static void arrived(const void** bottom, size_t* size) { __sanitizer_finish_switch_fiber(nullptr, bottom, size); }

static void leave(Wait wait) {
    running->wait = wait;
    __sanitizer_start_switch_fiber(nullptr, scheduler_stack, scheduler_size);
    swapcontext(&running->context, &scheduler);
    arrived(&scheduler_stack, &scheduler_size);
}

static void thread_of_a_block() {
    arrived(&scheduler_stack, &scheduler_size);
    kernel(arguments);
    leave(Wait::ended);
}

void pause(int line) {
    running->line = line;
    leave(Wait::block);
}

void fail(const char* words) { failure = words; }

void copy_later(void* to, const void* from, int bytes) { running->copies.push_back({to, from, bytes}); }

void copy_now() {
    for (const Copy& copy : running->copies) memcpy(copy.to, copy.from, copy.bytes);
    running->copies.clear();
}

int lane() { return int((running - fibers.data()) % WARP); }

const Fragment* exchange(const Fragment& fragment) {
    std::vector<Fragment>& all = fragments[running->products++ % 2];
    const unsigned place = unsigned(running - fibers.data());
    all[place] = fragment;
    leave(Wait::warp);
    return all.data() + place / WARP * WARP;
}

static void resume(Fiber& fiber) {
    running = &fiber;
    threadIdx = fiber.index;
    __sanitizer_start_switch_fiber(nullptr, fiber.stack.data(), STACK);
    swapcontext(&scheduler, &fiber.context);
    arrived(nullptr, nullptr);
}

// 0 ... count-1 in the order of a run: forward, backward, then at random.
static std::vector<unsigned> order(unsigned count, int run, std::mt19937& random) {
    std::vector<unsigned> indices(count);
    for (unsigned i = 0; i < count; ++i) indices[i] = run == 1 ? count - 1 - i : i;
    if (run > 1) std::shuffle(indices.begin(), indices.end(), random);
    return indices;
}

// Whether some may go on: because nothing keeps them, because all threads of their warp are at a product, or all of the
// block at a barrier.
static bool release(unsigned count) {
    unsigned waiting = 0, ended = 0, free = 0;
    for (unsigned first = 0; first < count; first += WARP) {
        unsigned there = 0;
        for (unsigned i = first; i < count && i < first + WARP; ++i)
            there += fibers[i].wait == Wait::warp && fibers[i].products == fibers[first].products;
        for (unsigned i = first; i < count && i < first + WARP; ++i) {
            if (there == WARP) fibers[i].wait = Wait::none;
            free += fibers[i].wait == Wait::none;
            waiting += fibers[i].wait == Wait::block;
            ended += fibers[i].wait == Wait::ended;
        }
    }
    if (free != 0 || ended == count) return free != 0;
    if (waiting + ended < count)
        failure = "a product of a warp of which threads are missing";
    else if (ended != 0)
        failure = "threads of a block have ended while others wait at a barrier";
    for (unsigned i = 0; failure.empty() && i < count; ++i) {
        if (fibers[i].line != fibers[0].line) failure = "threads of a block wait at different barriers";
        fibers[i].wait = Wait::none;
    }
    return failure.empty();
}

// The warps whose turn it is. Between two products a warp runs by itself: as far as it can, the first before the others,
// or the last, or by chance.
static std::vector<bool> turns(unsigned count, int run, std::mt19937& random) {
    std::vector<bool> turn((count + WARP - 1) / WARP);
    std::vector<unsigned> able;
    for (unsigned i = 0; i < count; ++i)
        if (fibers[i].wait == Wait::none) able.push_back(i / WARP);
    if (run == 0) turn[able.front()] = true;
    if (run == 1) turn[able.back()] = true;
    for (unsigned warp = 0; run > 1 && warp < turn.size(); ++warp) turn[warp] = random() % 2;
    return turn;
}

static bool run_block(int run, std::mt19937& random) {
    unsigned count = blockDim.x * blockDim.y * blockDim.z;
    if (fibers.size() < count) fibers.resize(count);
    for (std::vector<Fragment>& all : fragments) all.resize(fibers.size());
    for (unsigned i = 0; i < count; ++i) {
        Fiber& fiber = fibers[i];
        fiber.stack.resize(STACK);
        __asan_unpoison_memory_region(fiber.stack.data(), STACK);  // what the thread before left behind
        fiber.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
        fiber.wait = Wait::none;
        fiber.products = 0;
        fiber.copies.clear();
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, thread_of_a_block, 0);
    }
    do {
        const std::vector<bool> turn = turns(count, run, random);
        for (unsigned i : order(count, run, random))
            if (turn[i / WARP] && fibers[i].wait == Wait::none) resume(fibers[i]);
    } while (failure.empty() && release(count));
    return failure.empty();
}

// One argument of a launch: the bytes of a scalar, or of an array that lies `skew` bytes past an aligned address. Of an
// array that is too large to be made, the first `missing` bytes are addresses without memory.
struct Argument {
    int64_t array, skew, missing;
    std::vector<char> bytes;
    char *block = nullptr, *start = nullptr;

    void place() {
        void* memory = nullptr;
        if (missing != 0) {
            memory = mmap(nullptr, size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            const int64_t page = missing / 4096 * 4096;
            if (memory == MAP_FAILED || mprotect(static_cast<char*>(memory) + page, size() - page, 3) != 0) abort();
        } else if (posix_memalign(&memory, 256, size()) != 0) {
            abort();
        }
        block = static_cast<char*>(memory);
        start = block + skew;
        std::copy(bytes.begin(), bytes.end(), start + missing);
    }
    std::vector<char> take() {
        std::vector<char> content(start + missing, start + missing + bytes.size());
        if (missing != 0)
            munmap(block, size());
        else
            free(block);
        return content;
    }
    size_t size() const { return skew + missing + bytes.size(); }
};

static void get(void* bytes, size_t size) {
    if (size != 0 && fread(bytes, 1, size, stdin) != size) exit(0);
}

static int64_t number() {
    int64_t value;
    get(&value, sizeof value);
    return value;
}

static void put(const void* bytes, size_t size) { fwrite(bytes, 1, size, stdout); }

static void put_number(int64_t value) { put(&value, sizeof value); }

// Some blocks of a launch in every order; the arrays as the first run left them go to `first_answers`.
static void launch(const Kernel& chosen, int64_t runs, int64_t first_block, int64_t blocks,
                   std::vector<Argument>& passed, const std::vector<std::pair<char*, size_t>>& shared,
                   std::vector<std::vector<char>>& first_answers) {
    for (int run = 0; run < runs; ++run) {
        std::mt19937 random(run);
        std::vector<void*> values;
        for (Argument& argument : passed) {
            argument.place();
            values.push_back(argument.array ? static_cast<void*>(&argument.start) : argument.start);
        }
        kernel = chosen.call;
        arguments = values.data();
        for (int64_t block : order(blocks, run, random)) {
            block += first_block;
            blockIdx = {unsigned(block % gridDim.x), unsigned(block / gridDim.x % gridDim.y),
                        unsigned(block / gridDim.x / gridDim.y)};
            for (auto [start, size] : shared) memset(start, 0xff, size);
            if (!run_block(run, random)) return;
        }
        for (size_t i = 0; i < passed.size(); ++i) {
            std::vector<char> left = passed[i].take();
            if (run == 0)
                first_answers.push_back(left);
            else if (passed[i].array && left != first_answers[i])
                failure = "argument " + std::to_string(i) + " hangs on the order of threads: a barrier is missing";
        }
        if (!failure.empty()) return;
    }
}

// As CuPy's option -ftz=true does for float; here double as well, for which no test goes so near to 0.
static void flush_subnormals() {
#if defined(__SSE__)
    _mm_setcsr(_mm_getcsr() | 0x8040);  // FTZ: results, DAZ: operands
#elif defined(__aarch64__)
    uint64_t control;
    asm volatile("mrs %0, fpcr" : "=r"(control));
    asm volatile("msr fpcr, %0" ::"r"(control | 1 << 24));  // FZ
#endif
}

static void serve(int argc, char** argv) {
    flush_subnormals();
    std::vector<std::pair<char*, size_t>> shared;  // where static shared memory lies: addresses and sizes
    for (int i = 1; i + 1 < argc; i += 2)
        shared.push_back({reinterpret_cast<char*>(strtoull(argv[i], nullptr, 16)), strtoull(argv[i + 1], nullptr, 16)});
    for (int i = 0; i < kernel_count; ++i) {
        printf("%s:", kernels[i].name);
        kernels[i].describe();
        printf("\n");
    }
    printf("\n");
    fflush(stdout);
    for (;;) {
        int64_t chosen = number(), runs = number(), sizes[6], count;
        for (int64_t& size : sizes) size = number();
        gridDim = {unsigned(sizes[0]), unsigned(sizes[1]), unsigned(sizes[2])};
        blockDim = {unsigned(sizes[3]), unsigned(sizes[4]), unsigned(sizes[5])};
        int64_t first_block = number(), blocks = number();
        count = number();
        std::vector<Argument> passed(count);
        for (Argument& argument : passed) {
            argument.array = number();
            argument.skew = number();
            argument.missing = number();
            argument.bytes.resize(number());
            get(argument.bytes.data(), argument.bytes.size());
        }
        failure.clear();
        std::vector<std::vector<char>> first_answers;
        launch(kernels[chosen], runs, first_block, blocks, passed, shared, first_answers);
        put_number(failure.size());
        put(failure.data(), failure.size());
        for (size_t i = 0; failure.empty() && i < passed.size(); ++i)
            if (passed[i].array) put(first_answers[i].data(), first_answers[i].size());
        fflush(stdout);
    }
}

}  // namespace harness

int main(int argc, char** argv) { harness::serve(argc, argv); }
