// Starts GraphiQL over this server: queries and mutations by POST, subscriptions by graphql-transport-ws. The token is
// what stands in the headers editor: {"Authorization": "Bearer ..."}.
'use strict';

const EXAMPLE = `# The worst spindles, and what they are doing now.
{
  twins(first: 10, filter: {hasAlert: true}) {
    totalCount
    nodes {
      dtId
      health
      rul { rulDays low high recommendation }
      values { path value symbol quality sourceTime }
    }
  }
}
`;

async function post(request, headers) {
  const answer = await fetch('/graphql', {
    method: 'POST',
    headers: { accept: 'application/graphql-response+json', 'content-type': 'application/json', ...headers },
    body: JSON.stringify(request),
  });
  return answer.json();
}

async function* subscribe(request, headers) {
  const waiting = [];
  let wake = () => {};
  let ended = false;
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const socket = new WebSocket(`${scheme}://${location.host}/graphql`, 'graphql-transport-ws');
  const say = (message) => socket.send(JSON.stringify(message));
  const end = (problem) => {
    if (problem) waiting.push({ errors: [{ message: problem }] });
    ended = true;
    wake();
  };
  socket.onopen = () => say({ type: 'connection_init', payload: headers });
  socket.onclose = (event) => end(event.code === 1000 ? '' : `closed with ${event.code} ${event.reason}`);
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === 'connection_ack') say({ id: '1', type: 'subscribe', payload: request });
    else if (message.type === 'ping') say({ type: 'pong' });
    else if (message.type === 'next') waiting.push(message.payload);
    else if (message.type === 'error') waiting.push({ errors: message.payload });
    if (message.type === 'complete' || message.type === 'error') ended = true;
    wake();
  };
  try {
    while (true) {
      while (waiting.length) yield waiting.shift();
      if (ended) return;
      await new Promise((resolve) => (wake = resolve));
    }
  } finally {
    socket.close(1000);
  }
}

function fetcher(request, options) {
  const headers = (options && options.headers) || {};
  const document = options && options.documentAST;
  const chosen = document && document.definitions.find(
    (one) => one.kind === 'OperationDefinition' && (!request.operationName || (one.name && one.name.value === request.operationName)),
  );
  return chosen && chosen.operation === 'subscription' ? subscribe(request, headers) : post(request, headers);
}

ReactDOM.createRoot(document.getElementById('graphiql')).render(
  React.createElement(GraphiQL, { fetcher, defaultQuery: EXAMPLE, defaultEditorToolsVisibility: 'headers' }),
);
