// The TypeScript SDK v1 as a driver (legacy era only).

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
    CreateMessageRequestSchema,
    ElicitRequestSchema,
    ListRootsRequestSchema,
    LoggingMessageNotificationSchema,
    PromptListChangedNotificationSchema,
    ResourceUpdatedNotificationSchema,
    ToolListChangedNotificationSchema
} from '@modelcontextprotocol/sdk/types.js';
import { answers } from './answers.mjs';
import { transport as transportTo } from './target.mjs';

const kinds = { http: StreamableHTTPClientTransport, sse: SSEClientTransport, stdio: StdioClientTransport };

export function driver(target) {
    const capabilities = { sampling: {}, elicitation: {}, roots: {} };
    const client = new Client({ name: 'typescript-v1', version: '1' }, { capabilities });
    const transport = transportTo(target, kinds);
    const seen = { logs: [], updates: [], toolChanges: 0, promptChanges: 0 };

    client.setRequestHandler(ElicitRequestSchema, answers.elicit);
    client.setRequestHandler(CreateMessageRequestSchema, answers.sample);
    client.setRequestHandler(ListRootsRequestSchema, answers.roots);
    client.setNotificationHandler(LoggingMessageNotificationSchema, note => void seen.logs.push(note.params.data));
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, note => void seen.updates.push(note.params.uri));
    client.setNotificationHandler(ToolListChangedNotificationSchema, () => void seen.toolChanges++);
    client.setNotificationHandler(PromptListChangedNotificationSchema, () => void seen.promptChanges++);

    return {
        seen,
        missingResource: -32002,
        connect: () => client.connect(transport),
        close: async () => {
            await transport.terminateSession?.();
            await client.close();
        },
        era: () => 'legacy',
        revision: () => transport.protocolVersion ?? null,
        server: () => client.getServerVersion(),
        tools: async () => (await client.listTools()).tools,
        call: (params, options) => client.callTool(params, undefined, options),
        prompts: async () => (await client.listPrompts()).prompts,
        prompt: params => client.getPrompt(params),
        resources: async () => (await client.listResources()).resources,
        templates: async () => (await client.listResourceTemplates()).resourceTemplates,
        read: uri => client.readResource({ uri }),
        complete: params => client.complete(params),
        level: level => client.setLoggingLevel(level),
        subscribe: uri => client.subscribeResource({ uri })
    };
}
