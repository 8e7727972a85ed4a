// Preloaded into third-party servers that would listen on every interface: they listen on loopback instead.

const { Server } = require('node:net');

const listen = Server.prototype.listen;
Server.prototype.listen = function (first, ...rest) {
    if (typeof first === 'object' && first !== null) return listen.call(this, { ...first, host: '127.0.0.1' }, ...rest);
    if (typeof rest[0] === 'string') rest.shift();
    return listen.call(this, first, '127.0.0.1', ...rest);
};
