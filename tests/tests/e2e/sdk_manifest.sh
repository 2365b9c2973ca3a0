# A plugin written to the manifest of the SDK document: it uses every topic, path and variable declared there.
trap 'exit 0' TERM
login="-h $MQTT_HOST -p $MQTT_PORT -u $MQTT_USERNAME -P $MQTT_PASSWORD"
say() { mosquitto_pub $login -q 1 -t "$1" -m "$2"; }
listen() {
  mosquitto_sub $login -q 1 -t "$1" -F '%p' | while read -r line; do
    say bigskies/plugin/myplugin/status "heard $line"
  done
}
health='{"id":"1","source":"plugin:unique-plugin-guid","type":"status","timestamp":"2026-01-16T00:00:00Z","payload":{"component":"My Plugin Name","status":"healthy","message":"well","details":{}}}'

# Under the alias its own messages come back, so only what it is told is listened to here.
listen 'bigskies/plugin/myplugin/control/#' &
listen 'bigskies/plugin/unique-plugin-guid/control/#' &
mosquitto_sub $login -q 1 -t 'bigskies/plugin/myplugin/#' -F '%t' >/dev/null &
while :; do
  say bigskies/plugin/myplugin/health "$health"
  say bigskies/plugin/unique-plugin-guid/health "$health"
  say bigskies/plugin/myplugin/data "$(cat "$PLUGIN_CONFIG")"
  echo proof >/data/proof && say bigskies/plugin/myplugin/status 'data is written'
  sleep 1 &
  wait $!
done
