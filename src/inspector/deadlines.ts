/** Something that wants to be woken. Both fields are Infinity when nothing is wanted; `listedAt` belongs to Deadlines. */
export interface Timed {
  deadline: number;
  listedAt: number;
}

/**
 * A binary heap of deadlines. Deadlines move with almost every segment, so a moved one is not sought in the heap: an
 * entry that comes up early is put back at its true time. Each Timed has at most one live entry, so that a flood of
 * segments does not make the heap grow.
 */
export class Deadlines<T extends Timed> {
  #heap: { at: number; item: T }[] = [];

  set(item: T, at: number): void {
    item.deadline = at;
    if (at < item.listedAt) this.#push(item, at);
  }

  clear(item: T): void {
    item.deadline = Infinity;
  }

  /** Not later than the next true deadline; Infinity when there is none. */
  next(): number {
    while (this.#heap.length > 0) {
      const top = this.#heap[0]!;
      const stale = top.at !== top.item.listedAt;
      if (!stale && top.item.deadline !== Infinity) return top.at;
      this.#pop();
      if (!stale) top.item.listedAt = Infinity;
    }
    return Infinity;
  }

  /** One item whose deadline has come, its deadline cleared; null when there is none. */
  due(now: number): T | null {
    while (this.#heap.length > 0 && this.#heap[0]!.at <= now) {
      const { at, item } = this.#pop();
      if (at !== item.listedAt) continue;
      item.listedAt = Infinity;
      if (item.deadline > now) {
        if (item.deadline !== Infinity) this.#push(item, item.deadline);
        continue;
      }
      item.deadline = Infinity;
      return item;
    }
    return null;
  }

  #push(item: T, at: number): void {
    item.listedAt = at;
    const heap = this.#heap;
    const entry = { at, item };
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >>> 1;
      if (heap[parent]!.at <= at) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = entry;
  }

  #pop(): { at: number; item: T } {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      if (heap[child]!.at >= last.at) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}
