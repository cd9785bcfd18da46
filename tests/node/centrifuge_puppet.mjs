// A client of the Centrifugo protocol, by the SDK as it is published. It does what it is told from outside, and keeps
// what it has heard until that is taken. In Node and in pages.
globalThis.puppet = (() => {
  let client;
  const heard = {}; // by channel: [what, …] each; of the client itself under ""
  let wake = () => {};

  const hear = (channel, ...said) => {
    (heard[channel] ??= []).push(said);
    wake();
  };
  const subscribed = ({ channel, wasRecovering, recovered, streamPosition }) =>
    hear(channel, "subscribed", wasRecovering, recovered, streamPosition.offset);
  const published = ({ channel, offset, data }) => hear(channel, "publication", offset, data.type);
  const outcome = (promise) => promise.catch(({ code }) => ({ refused: code }));

  return {
    open(url, token) {
      client = new Centrifuge(url, { token, minReconnectDelay: 10, maxReconnectDelay: 100 });
      client.on("connected", () => hear("", "connected"));
      client.on("connecting", ({ code }) => hear("", "connecting", code));
      client.on("disconnected", ({ code, reason }) => hear("", "disconnected", code, reason));
      client.on("subscribed", subscribed);
      client.on("publication", published);
      client.connect();
    },
    follow(channel, { since, snapshot, data }) {
      const options = { since, data, minResubscribeDelay: 10, maxResubscribeDelay: 100 };
      if (snapshot)
        options.getState = async () => {
          const { data: state } = await client.rpc("snapshot", { channel });
          hear(channel, "state", state.offset);
          return state;
        };
      const subscription = client.newSubscription(channel, options);
      subscription.on("subscribed", subscribed);
      subscription.on("publication", published);
      subscription.on("unsubscribed", ({ code }) => hear(channel, "unsubscribed", code));
      subscription.subscribe();
    },
    leave(channel) {
      client.getSubscription(channel).unsubscribe();
    },
    async take(channel, count) {
      while ((heard[channel] ?? []).length < count) await new Promise((resolve) => (wake = resolve));
      return heard[channel].splice(0, count);
    },
    rpc: (method, data) => outcome(client.rpc(method, data).then((answer) => answer.data)),
    publish: (channel, data) => outcome(client.publish(channel, data)),
    history: (channel, options) => outcome(client.history(channel, options)),
    presence: (channel) => outcome(client.presence(channel).then(({ clients }) => clients)),
    presence_stats: (channel) =>
      outcome(client.presenceStats(channel).then(({ numClients, numUsers }) => [numClients, numUsers])),
    close: () => client.disconnect(),
  };
})();
