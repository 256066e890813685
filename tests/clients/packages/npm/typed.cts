// Compiled, and not run: the package as a module of CommonJS.
import anabranch = require("anabranch");

const started: Promise<anabranch.Server> = anabranch.start();
started.then((server) => server.kill());
