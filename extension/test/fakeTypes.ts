/** The plain values of the editor's API, as far as the extension uses them. */

export class Uri {
  private constructor(
    readonly scheme: string,
    readonly authority: string,
    readonly path: string,
  ) {}

  static parse(text: string): Uri {
    const colon = text.indexOf(":");
    const [, authority = "", path = ""] = /^(?:\/\/([^/]*))?(.*)$/.exec(text.slice(colon + 1)) ?? [];
    return new Uri(text.slice(0, colon), authority, decodeURIComponent(path));
  }

  static file(path: string): Uri {
    return new Uri("file", "", path);
  }

  static from({ scheme, authority, path }: { scheme: string; authority?: string; path: string }): Uri {
    return new Uri(scheme, authority ?? "", path);
  }

  get fsPath(): string {
    return this.path;
  }

  with({ scheme, path }: { scheme?: string; path?: string }): Uri {
    return new Uri(scheme ?? this.scheme, this.authority, path ?? this.path);
  }

  toString(): string {
    // The real one writes the authority in lower case, too.
    const authority = this.path.startsWith("/") ? `//${this.authority.toLowerCase()}` : "";
    return `${this.scheme}:${authority}${encodeURI(this.path)}`;
  }
}

export class RelativePattern {
  constructor(
    readonly base: unknown,
    readonly pattern: string,
  ) {}
}

export class Disposable {
  constructor(private readonly end: () => void) {}

  static from(...all: Disposable[]): Disposable {
    return new Disposable(() => {
      all.forEach((one) => {
        one.dispose();
      });
    });
  }

  dispose(): void {
    this.end();
  }
}

export class EventEmitter<T> {
  private listeners: ((value: T) => void)[] = [];

  readonly event = (listener: (value: T) => void): Disposable => {
    this.listeners = [...this.listeners, listener];
    return new Disposable(() => {
      this.listeners = this.listeners.filter((other) => other !== listener);
    });
  };

  fire(value: T): void {
    this.listeners.forEach((listener) => {
      listener(value);
    });
  }

  dispose(): void {
    this.listeners = [];
  }
}

export class Range {
  constructor(
    readonly startLine: number,
    readonly startCharacter: number,
    readonly endLine: number,
    readonly endCharacter: number,
  ) {}
}

export class CodeLens {
  constructor(
    readonly range: Range,
    readonly command?: { title: string; command: string; arguments?: unknown[] },
  ) {}
}

export class TreeItem {
  constructor(
    readonly label: string,
    readonly collapsibleState = 0,
  ) {}
}

export class ThemeIcon {
  constructor(readonly id: string) {}
}

export class ThemeColor {
  constructor(readonly id: string) {}
}

export class TabInputText {
  constructor(readonly uri: Uri) {}
}

export class TabInputTextDiff {
  constructor(
    readonly original: Uri,
    readonly modified: Uri,
  ) {}
}

export class FileSystemError extends Error {
  static FileNotFound(uri: Uri): FileSystemError {
    return new FileSystemError(`not found: ${uri.toString()}`);
  }

  static NoPermissions(uri: Uri): FileSystemError {
    return new FileSystemError(`not allowed: ${uri.toString()}`);
  }
}

export const TreeItemCollapsibleState = { None: 0, Collapsed: 1, Expanded: 2 };
export const StatusBarAlignment = { Left: 1, Right: 2 };
export const ProgressLocation = { SourceControl: 1, Window: 10, Notification: 15 };
export const ConfigurationTarget = { Global: 1, Workspace: 2, WorkspaceFolder: 3 };
export const FileType = { Unknown: 0, File: 1, Directory: 2, SymbolicLink: 64 };
export const FileChangeType = { Changed: 1, Created: 2, Deleted: 3 };
