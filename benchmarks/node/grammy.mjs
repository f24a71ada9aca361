import { Bot, session } from "grammy";

// A bot that knows itself asks Telegram for nothing.
const botInfo = { id: 123456, is_bot: true, first_name: "Bot", username: "bot" };

/** The function of grammY that handles one update, with `handler` for messages. */
export function build(handler, withSessions) {
  const bot = new Bot("123456:offline", { botInfo });
  // The default storage is `MemorySessionStorage`, and the default key is the chat.
  if (withSessions) bot.use(session({ initial: () => ({ counter: 0 }) }));
  bot.on("message", handler);
  return (update) => bot.handleUpdate(update);
}
