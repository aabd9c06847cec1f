/**
 * The way to the API: queries and mutations by HTTP POST, subscriptions by one WebSocket that speaks
 * graphql-transport-ws (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md).
 */

export class ApiError extends Error {
  constructor(
    message: string,
    /** `extensions.code` of the answer, or NETWORK where there was none. */
    readonly code: string,
  ) {
    super(message);
    this.name = "ApiError";
  }
  get unauthenticated(): boolean {
    return this.code === "UNAUTHENTICATED";
  }
  /** True where a smaller page may be answered (limits on cost, size or depth). */
  get tooMuch(): boolean {
    return /LIMIT|COMPLEX|COST|TOO_|BAD_REQUEST|BAD_USER_INPUT/.test(this.code);
  }
}

interface Answer {
  data?: unknown;
  errors?: { message?: string; extensions?: { code?: string } }[];
}

function failure(answer: Answer, fallback: string): ApiError {
  const first = answer.errors?.[0];
  return new ApiError(first?.message ?? fallback, first?.extensions?.code ?? "INTERNAL");
}

const TOKEN_KEY = "twinloom.token";

/** The bearer token, kept for this browser tab only. */
export const token = {
  get: (): string => sessionStorage.getItem(TOKEN_KEY) ?? "",
  set: (value: string): void => {
    if (value) sessionStorage.setItem(TOKEN_KEY, value);
    else sessionStorage.removeItem(TOKEN_KEY);
  },
};

export class Api {
  constructor(
    private readonly url: URL,
    private readonly timeoutMs = 30_000,
  ) {}

  /** The `data` of one operation; throws ApiError with the server's code and sentence. */
  async query<T>(document: string, variables: Record<string, unknown> = {}): Promise<T> {
    const headers: Record<string, string> = { "content-type": "application/json", accept: "application/json" };
    if (token.get()) headers["authorization"] = `Bearer ${token.get()}`;
    let response: Response;
    try {
      response = await fetch(this.url, {
        method: "POST",
        headers,
        body: JSON.stringify({ query: document, variables }),
        signal: AbortSignal.timeout(this.timeoutMs),
      });
    } catch {
      throw new ApiError("The server does not answer.", "NETWORK");
    }
    const answer = (await response.json().catch(() => ({}))) as Answer;
    if (response.status === 401) throw new ApiError(failure(answer, "A token is needed.").message, "UNAUTHENTICATED");
    if (answer.errors?.length) throw failure(answer, "The server refused the query.");
    if (!response.ok || answer.data === undefined || answer.data === null) {
      throw new ApiError(`The server answered ${response.status}.`, response.status >= 500 ? "NETWORK" : "INTERNAL");
    }
    return answer.data as T;
  }

  get socketUrl(): string {
    const url = new URL(this.url);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  }
}

export interface Listener {
  next(data: unknown): void;
  /** The server ended or refused this operation; the socket stays. */
  ended(error: ApiError | null): void;
}

interface Message {
  type: string;
  id?: string;
  payload?: unknown;
}

const HEARTBEAT_MS = 10_000;
const SILENCE_MS = 8_000;

/** One WebSocket's life: opened, acknowledged, used, closed. Never reconnects by itself; its owner does. */
export class Socket {
  private readonly socket: WebSocket;
  private readonly listeners = new Map<string, Listener>();
  private nextId = 1;
  private heartbeat = 0;
  private silence = 0;
  private over = false;

  private constructor(
    url: string,
    private readonly opened: () => void,
    private readonly closed: (error: ApiError) => void,
  ) {
    this.socket = new WebSocket(url, "graphql-transport-ws");
    this.silence = window.setTimeout(() => this.fail(new ApiError("The server does not answer.", "NETWORK")), SILENCE_MS);
    this.socket.onopen = () => {
      const bearer = token.get();
      this.send({ type: "connection_init", payload: bearer ? { authorization: `Bearer ${bearer}` } : {} });
    };
    this.socket.onmessage = (event) => this.receive(event.data);
    this.socket.onclose = (event) => {
      const refused = event.code === 4401 || event.code === 4403;
      const reason = event.reason || "The connection to the server was lost.";
      this.fail(new ApiError(reason, refused ? "UNAUTHENTICATED" : "NETWORK"));
    };
  }

  /** An acknowledged socket; `closed` is called once when it ends, unless `close()` was. */
  static open(url: string, closed: (error: ApiError) => void): Promise<Socket> {
    return new Promise((resolve, reject) => {
      let ready = false;
      const socket: Socket = new Socket(
        url,
        () => {
          ready = true;
          resolve(socket);
        },
        (error) => (ready ? closed(error) : reject(error)),
      );
    });
  }

  subscribe(query: string, variables: Record<string, unknown>, listener: Listener): () => void {
    const id = String(this.nextId++);
    this.listeners.set(id, listener);
    this.send({ type: "subscribe", id, payload: { query, variables } });
    return () => {
      if (this.listeners.delete(id)) this.send({ type: "complete", id });
    };
  }

  close(): void {
    this.over = true;
    this.stopTimers();
    this.listeners.clear();
    this.socket.close(1000);
  }

  private send(message: Message): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private receive(text: unknown): void {
    if (this.over || typeof text !== "string") return;
    const message = JSON.parse(text) as Message;
    this.listen();
    if (message.type === "next" && message.id) {
      const listener = this.listeners.get(message.id);
      const answer = message.payload as Answer;
      if (answer.data) listener?.next(answer.data);
      else if (answer.errors) listener?.ended(failure(answer, "The server ended the subscription."));
    } else if (message.type === "connection_ack") {
      this.opened();
    } else if (message.type === "ping") {
      this.send({ type: "pong" });
    } else if (message.id && (message.type === "error" || message.type === "complete")) {
      const listener = this.listeners.get(message.id);
      this.listeners.delete(message.id);
      const errors = message.type === "error" ? (message.payload as Answer["errors"]) : undefined;
      listener?.ended(errors ? failure({ errors }, "The server refused the subscription.") : null);
    }
  }

  /** Anything heard proves the line; after a while of nothing ask once, then give up. */
  private listen(): void {
    this.stopTimers();
    this.heartbeat = window.setTimeout(() => {
      this.send({ type: "ping" });
      this.silence = window.setTimeout(() => this.fail(new ApiError("The server fell silent.", "NETWORK")), SILENCE_MS);
    }, HEARTBEAT_MS);
  }

  private stopTimers(): void {
    clearTimeout(this.heartbeat);
    clearTimeout(this.silence);
  }

  private fail(error: ApiError): void {
    if (this.over) return;
    this.close();
    this.closed(error);
  }
}
