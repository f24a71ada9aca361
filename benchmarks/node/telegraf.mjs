import { Telegraf, session } from "telegraf";

/** The function of telegraf that handles one update, with `handler` for messages. */
export function build(handler, withSessions) {
  const bot = new Telegraf("123456:offline");
  // A bot that knows itself asks Telegram for nothing.
  bot.botInfo = { id: 123456, is_bot: true, first_name: "Bot", username: "bot" };
  // The default storage is in memory, and the default key is the user in the chat.
  if (withSessions) bot.use(session({ defaultSession: () => ({ counter: 0 }) }));
  bot.on("message", handler);
  return (update) => bot.handleUpdate(update);
}
