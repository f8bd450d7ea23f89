// Outside the editor there is no module "vscode": everybody who asks for it gets the tests' own.
const Module = require("node:module");
const path = require("node:path");

const resolve = Module._resolveFilename;
Module._resolveFilename = function (request, ...rest) {
  return request === "vscode" ? path.join(__dirname, "fakeVscode.ts") : resolve.call(this, request, ...rest);
};
