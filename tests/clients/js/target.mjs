// Which transport a target asks for: `stdio:["command", "argument", …]`, `sse+http://…`, or a URL of Streamable HTTP.

/** @param kinds { http: Class, sse: Class, stdio: Class } of one SDK */
export function transport(target, kinds) {
    if (target.startsWith('stdio:')) {
        const [command, ...args] = JSON.parse(target.slice('stdio:'.length));
        return new kinds.stdio({ command, args, env: process.env, stderr: 'inherit' });
    }
    if (target.startsWith('sse+')) return new kinds.sse(new URL(target.slice('sse+'.length)));
    return new kinds.http(new URL(target));
}
