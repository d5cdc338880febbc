// Latencies in buckets whose width grows with their value: any number of samples in fixed memory, each with an error below 1 %.
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <stdlib.h>

// 128 buckets for each power of two: a bucket is less than 1 % of its value wide.
#define SUB_BITS 7
#define SUB_BUCKETS (1u << SUB_BITS)
#define BUCKETS ((64 - SUB_BITS + 1) * SUB_BUCKETS)

struct histogram {
  uint64_t count;
  uint64_t largest;
  uint64_t buckets[BUCKETS];
};

static inline unsigned bucket_of(uint64_t value) {
  if (value < SUB_BUCKETS) return (unsigned)value;
  unsigned shift = 63u - (unsigned)__builtin_clzll(value) - SUB_BITS;
  return (shift + 1) * SUB_BUCKETS + (unsigned)((value >> shift) - SUB_BUCKETS);
}

// The lower edge of a bucket.
static inline uint64_t value_of(unsigned bucket) {
  if (bucket < SUB_BUCKETS) return bucket;
  unsigned shift = bucket / SUB_BUCKETS - 1;
  return (uint64_t)(bucket % SUB_BUCKETS + SUB_BUCKETS) << shift;
}

static inline void record(struct histogram *h, uint64_t value) {
  h->count += 1;
  h->buckets[bucket_of(value)] += 1;
  if (value > h->largest) h->largest = value;
}

// The value that a share of `share` (0 to 1) of all samples does not exceed; 0 without samples.
static inline uint64_t percentile(const struct histogram *h, double share) {
  uint64_t wanted = (uint64_t)(share * (double)h->count);
  uint64_t seen = 0;
  for (unsigned i = 0; i < BUCKETS; i++) {
    seen += h->buckets[i];
    if (seen > wanted) return value_of(i);
  }
  return h->largest;
}

#endif
