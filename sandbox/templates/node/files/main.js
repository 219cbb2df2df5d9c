import { greeting } from "./greeting.js";

console.log(greeting("world", new Date().getHours()));
console.log(`This is Node.js ${process.version}.`);
