#!/bin/sh
# Installs what the workbench test needs into tests/e2e/node_modules: playwright-core, and code-server (VS Code for
# the browser) in parts, because its own install script fetches a binary that is in no package registry.
# Does nothing when the lock, this script and Node's version are those of the last installation.
set -eu
cd "$(dirname "$0")"

complain() {
  echo "install-workbench: $1" >&2
  exit 1
}

command -v npm >/dev/null || complain "npm is missing; install Node.js 20 (code-server runs on no other release)."
case "$(node --version)" in
  v20.*) ;;
  *) complain "Node.js $(node --version) is on the PATH; code-server 4.100 runs on Node.js 20 only." ;;
esac
command -v rg >/dev/null || complain "ripgrep is missing; install it with: apt-get install ripgrep"
command -v "${CHROMIUM:-chromium}" >/dev/null ||
  complain "chromium is missing; install it with: apt-get install chromium (or name another one in CHROMIUM)."

stamp=node_modules/.workbench-installed
wanted=$({ cat package-lock.json install-workbench.sh; node --version; } | sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then
  exit 0
fi

# Chatter is kept for the day something fails; a stage that succeeds says one line.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
stage() {
  title=$1
  shift
  echo "install-workbench: $title"
  "$@" >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    complain "$title failed; the end of its output is above."
  }
}

stage "test libraries" npm ci

code_server=$PWD/node_modules/code-server
vscode=$code_server/lib/vscode
# Its shrinkwrap and its package.json disagree, so `npm ci` is refused here.
stage "VS Code's libraries" npm install --prefix "$vscode" --omit=dev --ignore-scripts --no-audit --no-fund
stage "VS Code's logger" npm rebuild --prefix "$vscode" --ignore-scripts=false @vscode/spdlog
stage "VS Code's watchdog" npm rebuild --prefix "$vscode" --ignore-scripts=false native-watchdog
stage "VS Code's terminals" npm exec --call "cd '$vscode/node_modules/node-pty' && node-gyp rebuild"
stage "code-server's hashing" npm rebuild --ignore-scripts=false --build-from-source argon2

mkdir -p "$vscode/node_modules/@vscode/ripgrep/bin"
ln -sf "$(command -v rg)" "$vscode/node_modules/@vscode/ripgrep/bin/rg"
ln -sfn node_modules "$vscode/node_modules.asar"

stage "a first start" node "$code_server/out/node/entry.js" --version
echo "$wanted" >"$stamp"
