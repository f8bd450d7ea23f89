/** The module "vscode" of the tests: a window onto the current `FakeEditor`. */

import { FakeEditor, type FakeTab, type Files } from "./fakeEditor";
import { Disposable, EventEmitter, type Uri } from "./fakeTypes";

export * from "./fakeTypes";

let current = new FakeEditor();

/** A fresh editor, which the API shows from now on. */
export function newEditor(): FakeEditor {
  current = new FakeEditor();
  return current;
}

const nothing = new Disposable(() => undefined);

export const window = {
  get activeTextEditor() {
    return current.active && { document: current.active };
  },
  tabGroups: {
    get all() {
      return [{ tabs: current.tabs }];
    },
    get activeTabGroup() {
      return { activeTab: current.tabs.at(-1) };
    },
    onDidChangeTabs: (listener: () => void) => current.tabsChanged.event(listener),
    onDidChangeTabGroups: () => nothing,
    close: (tabs: FakeTab[]) => {
      current.close(tabs);
      return Promise.resolve(true);
    },
  },
  createOutputChannel: () => {
    const write = (text: string): void => void current.output.push(text);
    const ignore = (): void => undefined;
    return { append: write, info: write, warn: write, show: ignore, dispose: ignore };
  },
  createStatusBarItem: () => {
    const item = current.statusItem;
    const set = (visible: boolean) => (): void => {
      item.visible = visible;
    };
    return Object.assign(item, { show: set(true), hide: set(false), dispose: set(false) });
  },
  registerTreeDataProvider: (id: string, provider: unknown) => {
    current.providers.set(id, provider);
    return nothing;
  },
  showInputBox: (options: { prompt?: string }) => Promise.resolve(current.ask(options.prompt ?? "")),
  showOpenDialog: (options: { title: string }) => Promise.resolve(current.ask(options.title)),
  showQuickPick: (items: unknown[], options: { title?: string; placeHolder?: string }) => {
    const answer = current.ask(options.placeHolder ?? options.title ?? "", items);
    // A number picks the item at that place.
    return Promise.resolve(typeof answer === "number" ? items[answer] : answer);
  },
  showInformationMessage: (text: string) => Promise.resolve(current.ask(text)),
  showWarningMessage: (text: string) => Promise.resolve(current.ask(text)),
  showErrorMessage: (text: string) => Promise.resolve(current.ask(text)),
  async withProgress<T>(options: { title: string }, task: (progress: unknown, token: unknown) => Promise<T>): Promise<T> {
    const cancelled = new EventEmitter<undefined>();
    const token = { isCancellationRequested: false, onCancellationRequested: cancelled.event };
    const shown = {
      title: options.title,
      reports: [] as { message?: string }[],
      open: true,
      cancel: (): void => {
        token.isCancellationRequested = true;
        cancelled.fire(undefined);
      },
    };
    current.progresses.push(shown);
    try {
      return await task({ report: (report: { message?: string }) => void shown.reports.push(report) }, token);
    } finally {
      shown.open = false;
    }
  },
};

export const workspace = {
  get isTrusted() {
    return current.trusted;
  },
  get textDocuments() {
    return current.documents;
  },
  fs: { createDirectory: () => Promise.resolve() },
  getWorkspaceFolder: () => ({ uri: current.folder }),
  asRelativePath: (uri: Uri) => uri.path.replace(`${current.folder.path}/`, ""),
  findFiles: () => Promise.resolve(current.found),
  openTextDocument: (uri: Uri) => Promise.resolve(current.open(uri, "")),
  getConfiguration: () => ({
    get: (name: string) => current.settings[name],
    inspect: (name: string) => ({ globalValue: current.settings[name], workspaceValue: undefined }),
    update: (name: string, value: unknown) => {
      current.change({ [name]: value });
      return Promise.resolve();
    },
  }),
  registerTextDocumentContentProvider: (scheme: string, provider: unknown) => {
    current.providers.set(scheme, provider);
    return nothing;
  },
  registerFileSystemProvider: (scheme: string, provider: Files & { onDidChangeFile: (follow: (changes: { uri: Uri }[]) => void) => unknown }) => {
    const editor = current;
    editor.files.set(scheme, provider);
    provider.onDidChangeFile((changes) => {
      changes.forEach(({ uri }) => {
        editor.follow(uri);
      });
    });
    return nothing;
  },
  onDidOpenTextDocument: (listener: () => void) => current.opened.event(listener),
  onDidChangeConfiguration: (listener: (change: never) => void) => current.configured.event(listener as () => void),
  onDidGrantWorkspaceTrust: (listener: () => void) => current.granted.event(listener),
};

export const languages = {
  match: (selectors: { scheme: string; language: string }[], document: { uri: Uri; languageId: string }) =>
    selectors.some(({ scheme, language }) => scheme === document.uri.scheme && language === document.languageId) ? 10 : 0,
  registerCodeLensProvider: (_selector: unknown, provider: unknown) => {
    current.providers.set("lenses", provider);
    return nothing;
  },
};

export const commands = {
  registerCommand: (name: string, command: (...args: unknown[]) => unknown) => {
    current.commands.set(name, command);
    return nothing;
  },
  executeCommand: (name: string, ...args: unknown[]): Promise<unknown> => {
    current.executed.push(name);
    if (name === "setContext") {
      current.context.set(args[0] as string, args[1]);
    } else if (name === "vscode.diff") {
      current.diff(args[0] as Uri, args[1] as Uri, args[2] as string);
    } else if (name === "vscode.changes") {
      current.changes(args[0] as string, args[1] as [Uri, Uri, Uri][]);
    }
    return Promise.resolve(current.commands.get(name)?.(...args));
  },
};

export const extensions = {
  getExtension: () =>
    current.python === undefined
      ? undefined
      : {
          isActive: false,
          activate: () => {
            const executable = { uri: { fsPath: current.python } };
            const environments = {
              getActiveEnvironmentPath: () => ({ path: current.python }),
              resolveEnvironment: () => Promise.resolve({ executable }),
            };
            return Promise.resolve({ environments });
          },
        },
};
