import { SessionManager } from "@puregram/session";
import { Telegram } from "puregram";

/** The function of puregram that handles one update, with `handler` for messages. */
export function build(handler, withSessions) {
  const { updates } = Telegram.fromToken("123456:offline");
  // The default storage is `MemoryStorage`, and the default key is the sender.
  if (withSessions) updates.on("message", new SessionManager().middleware);
  updates.on("message", handler);
  // `handleUpdate(update)` does both, but returns before the handler has ended.
  return (update) => updates.dispatchMiddleware(updates.handleUpdate(update, false));
}
