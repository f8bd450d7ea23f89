/** API keys: in the editor's secret storage, and nowhere else. */

import type * as vscode from "vscode";

/**
 * Whose key a teacher needs: its provider, at its own address where it has one.
 *
 * A key is never handed to another address than the one it was stored for, whatever a workspace's settings say.
 */
export function keyOwner(teacher: string): string {
  // The names of some providers' models have an @ of their own.
  const at = teacher.indexOf("@http");
  const [name, address] = at < 0 ? [teacher, ""] : [teacher.slice(0, at), teacher.slice(at)];
  return `${name.split("/")[0] ?? name}${address.replace(/\/+$/, "")}`;
}

/** Whether a teacher can need a key at all. */
export function needsKey(teacher: string): boolean {
  return !teacher.startsWith("embedded/");
}

export class Keys {
  constructor(private readonly secrets: vscode.SecretStorage) {}

  async get(teacher: string): Promise<string | null> {
    return (await this.secrets.get(place(keyOwner(teacher)))) ?? null;
  }

  /**
   * Store a key, or remove it where it is empty.
   *
   * @throws Error the storage did not keep it.
   */
  async set(owner: string, key: string): Promise<void> {
    if (key === "") {
      await this.secrets.delete(place(owner));
      return;
    }
    await this.secrets.store(place(owner), key);
    // Some secret storages forget silently.
    if ((await this.secrets.get(place(owner))) !== key) {
      throw new Error("The editor's secret storage did not keep the key; set it as an environment variable instead.");
    }
  }
}

function place(owner: string): string {
  return `precisionShaking.apiKey.${owner}`;
}
