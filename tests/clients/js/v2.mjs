// The TypeScript SDK v2 as a driver. Mode `legacy` is that SDK's default; `auto` probes for the modern era.

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { answers } from './answers.mjs';
import { transport as transportTo } from './target.mjs';

const kinds = { http: StreamableHTTPClientTransport, sse: SSEClientTransport, stdio: StdioClientTransport };

export function driver(target, mode) {
    const capabilities = { sampling: {}, elicitation: {}, roots: {} };
    const options = mode === 'auto' ? { capabilities, versionNegotiation: { mode } } : { capabilities };
    const client = new Client({ name: `typescript-v2-${mode}`, version: '1' }, options);
    const transport = transportTo(target, kinds);
    const seen = { logs: [], updates: [], toolChanges: 0, promptChanges: 0 };

    client.setRequestHandler('elicitation/create', answers.elicit);
    client.setRequestHandler('sampling/createMessage', answers.sample);
    client.setRequestHandler('roots/list', answers.roots);
    client.setNotificationHandler('notifications/message', note => void seen.logs.push(note.params.data));
    client.setNotificationHandler('notifications/resources/updated', note => void seen.updates.push(note.params.uri));
    client.setNotificationHandler('notifications/tools/list_changed', () => void seen.toolChanges++);
    client.setNotificationHandler('notifications/prompts/list_changed', () => void seen.promptChanges++);

    return {
        seen,
        // This SDK shows the code of the newest revision in both eras.
        missingResource: -32602,
        connect: () => client.connect(transport),
        close: async () => {
            if (client.getProtocolEra() === 'legacy') await transport.terminateSession?.();
            await client.close();
        },
        era: () => client.getProtocolEra(),
        revision: () => client.getNegotiatedProtocolVersion(),
        server: () => client.getServerVersion(),
        tools: async () => (await client.listTools()).tools,
        call: (params, callOptions) => client.callTool(params, callOptions),
        prompts: async () => (await client.listPrompts()).prompts,
        prompt: params => client.getPrompt(params),
        resources: async () => (await client.listResources()).resources,
        templates: async () => (await client.listResourceTemplates()).resourceTemplates,
        read: uri => client.readResource({ uri }),
        complete: params => client.complete(params),
        level: async level => {
            if (client.getProtocolEra() === 'legacy') await client.setLoggingLevel(level);
        },
        subscribe: uri => client.subscribeResource({ uri }),
        listen: async filter => {
            const subscription = await client.listen(filter);
            return () => subscription.close();
        }
    };
}
