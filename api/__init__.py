"""HOW programs ask: GraphQL over HTTP and WebSocket, with its guard, limits and health."""
