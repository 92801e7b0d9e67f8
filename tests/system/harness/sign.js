// Signatures as the vendors' own libraries make them: reads {"url", "body", "form", "events"} and prints, for each scheme, the
// secret that is stored, the headers, the body as it is sent, and the address.
const crypto = require("crypto");
const path = require("path");
const need = (name) => require(require.resolve(name, { paths: [path.join(process.argv[2], "node_modules")] }));

const stripe = need("stripe")("sk_test_none");
const twilio = need("twilio");
const { Webhook: Standard } = need("standardwebhooks");
const { Webhook: Svix } = need("svix");
const sendgrid = need("@sendgrid/eventwebhook");

const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
const now = input.now ? new Date(input.now * 1000) : new Date();
const seconds = Math.floor(now.getTime() / 1000);
const json = "application/json";
const out = {};

const whsec = "whsec_" + crypto.randomBytes(32).toString("base64");
out.standard_webhooks = {
  secret: whsec, type: json, body: input.body,
  headers: { "webhook-id": "msg_1", "webhook-timestamp": String(seconds), "webhook-signature": new Standard(whsec).sign("msg_1", now, input.body) },
};
const svix = new Svix(whsec).sign("msg_2", now, input.body);
out.svix = { secret: whsec, type: json, body: input.body, headers: { "svix-id": "msg_2", "svix-timestamp": String(seconds), "svix-signature": "v1,bm90IHRoaXM= " + svix } };

// v1a, which no library signs: ed25519 over the same bytes.
const ed = crypto.generateKeyPairSync("ed25519");
out.asymmetric = {
  secret: "whpk_" + ed.publicKey.export({ type: "spki", format: "der" }).subarray(-32).toString("base64"), type: json, body: input.body,
  headers: {
    "webhook-id": "msg_3", "webhook-timestamp": String(seconds),
    "webhook-signature": "v1a," + crypto.sign(null, Buffer.from(`msg_3.${seconds}.${input.body}`), ed.privateKey).toString("base64"),
  },
};

const endpoint = "whsec_of_stripe_" + crypto.randomBytes(8).toString("hex");
out.stripe = {
  secret: endpoint, type: json, body: input.body,
  headers: { "Stripe-Signature": stripe.webhooks.generateTestHeaderString({ payload: input.body, secret: endpoint, timestamp: seconds }) },
};

const token = crypto.randomBytes(16).toString("hex");
const form = new URLSearchParams();
for (const [name, value] of input.form) form.append(name, value);
const fields = {};
for (const [name, value] of input.form) fields[name] = name in fields ? [].concat(fields[name], value) : value;
out.twilio = { secret: token, type: "application/x-www-form-urlencoded", body: form.toString(), headers: { "X-Twilio-Signature": twilio.getExpectedTwilioSignature(token, input.url.twilio, fields) } };
const summed = input.url.twilio_json + "?bodySHA256=" + crypto.createHash("sha256").update(input.body).digest("hex");
out.twilio_json = { secret: token, type: json, body: input.body, query: summed.slice(summed.indexOf("?")), headers: { "X-Twilio-Signature": twilio.getExpectedTwilioSignature(token, summed, {}) } };

// The library verifies only: what it accepts is made by node, and it is asked whether it does.
const pair = crypto.generateKeyPairSync("ec", { namedCurve: "prime256v1" });
const key = pair.publicKey.export({ type: "spki", format: "der" }).toString("base64");
const ts = String(seconds);
const made = crypto.sign("sha256", Buffer.from(ts + input.events), pair.privateKey).toString("base64");
const mail = new sendgrid.EventWebhook();
if (!mail.verifySignature(mail.convertPublicKeyToECDSA(key), input.events, made, ts)) throw new Error("sendgrid's library does not take it");
out.sendgrid = {
  secret: key, type: json, body: input.events,
  headers: { [sendgrid.EventWebhookHeader.SIGNATURE()]: made, [sendgrid.EventWebhookHeader.TIMESTAMP()]: ts },
};
console.log(JSON.stringify(out));
