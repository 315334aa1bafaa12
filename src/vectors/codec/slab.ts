/** Room for the vectors of one call. The collector counts every buffer: one for each vector costs more than copying it. */

/** In numbers of float32: 256 KiB. What is kept of a slab keeps all of it. */
const SLAB = 65_536;

export class VectorSlab {
  private free = new Float32Array(0);

  /** Zeros; a part of a larger buffer. */
  take(length: number): Float32Array {
    if (length > this.free.length) this.free = new Float32Array(Math.max(SLAB, length));
    const taken = this.free.subarray(0, length);
    this.free = this.free.subarray(length);
    return taken;
  }
}
