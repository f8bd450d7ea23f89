/** Runs a task one at a time; however often it is asked for meanwhile, it runs once more and no oftener. */
export class SingleFlight {
  private running: Promise<void> | undefined;
  private queued: Promise<void> | undefined;

  constructor(private readonly task: () => Promise<void>) {}

  /** Settles when a run that began after this call has ended. */
  run(): Promise<void> {
    if (!this.running) {
      this.running = this.task().finally(() => {
        this.running = undefined;
      });
      return this.running;
    }
    this.queued ??= this.running
      .catch(() => undefined) // whoever asked for that run was told
      .then(() => {
        this.queued = undefined;
        return this.run();
      });
    return this.queued;
  }
}
