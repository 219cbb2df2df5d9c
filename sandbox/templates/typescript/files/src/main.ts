import { greeting } from "./greeting.js";

console.log(greeting("world", new Date()));
console.log(`This is TypeScript on Node.js ${process.version}.`);
