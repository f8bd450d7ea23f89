/** The language server's life: started when first needed, restarted one at a time, stopped with the extension. */

import type * as vscode from "vscode";

import type { NotificationMessage, RequestMessage } from "./protocol";
import { SingleFlight } from "./singleFlight";

/** The part of vscode-languageclient's client that is used after it has started. */
export interface Connection {
  sendRequest(method: string, params: unknown, token?: vscode.CancellationToken): Promise<unknown>;
  sendNotification(method: string, params: unknown): Promise<void>;
  onNotification(method: string, handler: (params: unknown) => void): vscode.Disposable;
  onRequest(method: string, handler: (params: unknown) => Promise<unknown>): vscode.Disposable;
  onWorkDone(token: string, report: (message: string, percentage: number | undefined) => void): vscode.Disposable;
  /** Called when the process went away, whether it was asked to or not. */
  onGone(handler: () => void): void;
  stop(): Promise<void>;
}

/** Starts a server process; rejects with a sentence for the user. */
export type Launch = () => Promise<Connection>;

/** What arrived or was answered does not fit the wire contract. */
export class ContractError extends Error {}

export class Server {
  private connection: Promise<Connection> | undefined;
  private started = false;
  private disposed = false;
  private readonly wiring: ((connection: Connection) => void)[] = [];
  private readonly restarts = new SingleFlight(() => this.relaunch());

  /**
   * @param launch Starts the process.
   * @param warn Is told of messages that do not fit the contract.
   */
  constructor(
    private readonly launch: Launch,
    private readonly warn: (message: string) => void,
  ) {}

  /** Whether a start was ever tried: one that failed is tried again only when the user wants something. */
  get wasStarted(): boolean {
    return this.started;
  }

  /** Called with every connection that is opened, before anything is sent over it. */
  onConnection(wire: (connection: Connection) => void): void {
    this.wiring.push(wire);
  }

  /** Have every notification of this kind handled, over all restarts. */
  onNotification<P>(message: NotificationMessage<P>, handler: (params: P) => void): void {
    this.onConnection((connection) => {
      connection.onNotification(message.method, (params) => {
        if (message.params(params)) {
          handler(params);
        } else {
          this.warn(`${message.method} does not fit the contract: ${JSON.stringify(params)}`);
        }
      });
    });
  }

  /** Have every request of this kind answered, over all restarts. */
  onRequest<P, R>(message: RequestMessage<P, R>, handler: (params: P) => Promise<R>): void {
    this.onConnection((connection) => {
      connection.onRequest(message.method, async (params) => {
        if (!message.params(params)) {
          throw new ContractError(`${message.method} does not fit the contract`);
        }
        return handler(params);
      });
    });
  }

  /** Ask the server something; starts it when there is none. */
  async request<P, R>(message: RequestMessage<P, R>, params: P, token?: vscode.CancellationToken): Promise<R> {
    const connection = await this.ready();
    const result = await connection.sendRequest(message.method, params, token);
    if (!message.result(result)) {
      throw new ContractError(`The server's answer to ${message.method} does not fit the contract.`);
    }
    return result;
  }

  /** The connection, which is opened when there is none. */
  ready(): Promise<Connection> {
    this.connection ??= this.open(Promise.resolve());
    return this.connection;
  }

  /** Start the server anew; what is asked meanwhile waits for the new one. */
  restart(): Promise<void> {
    return this.restarts.run();
  }

  /** Tell a running server something; nothing happens when there is none. */
  async tell(method: string, params: unknown): Promise<void> {
    const connection = await this.connection;
    await connection?.sendNotification(method, params);
  }

  /** Stop the server; the next request starts it again. */
  async halt(): Promise<void> {
    const connection = this.connection;
    this.connection = undefined;
    await stop(connection);
  }

  dispose(): Promise<void> {
    this.disposed = true;
    return this.halt();
  }

  private async relaunch(): Promise<void> {
    this.connection = this.open(stop(this.connection));
    await this.connection;
  }

  private open(after: Promise<void>): Promise<Connection> {
    this.started = true;
    const opened = after.then(() => this.connect());
    opened.catch(() => {
      // The next request tries again.
      this.forget(opened);
    });
    return opened;
  }

  private async connect(): Promise<Connection> {
    const connection = await this.launch();
    if (this.disposed) {
      await connection.stop();
      throw new Error("Precision Shaking was closed while its server started.");
    }
    for (const wire of this.wiring) {
      wire(connection);
    }
    return connection;
  }

  private forget(opened: Promise<Connection>): void {
    if (this.connection === opened) {
      this.connection = undefined;
    }
  }
}

async function stop(connection: Promise<Connection> | undefined): Promise<void> {
  try {
    await (await connection)?.stop();
  } catch {
    // It never started, or is gone already.
  }
}
