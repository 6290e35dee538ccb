#!/bin/sh
# A chat by curl: posts a visitor's question, shows what Kefu wants to say, and tells that it was shown.
# Needs KEFU_INTAKE, KEFU_NOTIFICATIONS and KEFU_KEY.
set -eu
chat="chat-$(date +%s)-$$"
auth="Authorization: Bearer $KEFU_KEY"

# The same body again on 429, 503, time-outs and broken connections, as Retry-After says; not on other answers.
post() { # path, id, type, data
  body='{"id": "'$2'", "type": "'$3'", "site": "shop", "interaction": "'$chat'",
         "occurred_at": "'$(date -u +%Y-%m-%dT%H:%M:%SZ)'", "data": '$4'}'
  curl --silent --show-error --max-time 10 --retry 10 --retry-all-errors \
    -H "$auth" -H 'Content-Type: application/json' -d "$body" "$KEFU_INTAKE/v1/$1"
  echo
}

stream=$(mktemp -u)
mkfifo "$stream"
curl --silent --no-buffer -H "$auth" "$KEFU_NOTIFICATIONS/v1/stream?feed=outbound" > "$stream" &
trap 'kill $!; rm -f "$stream"' EXIT

while read -r line; do
  case $line in
    ": kefu outbound") # the stream is open: from now on nothing is missed
      post chats "$chat-1" chat.started '{"page": "https://shop.example/oven"}'
      post chats "$chat-2" chat.message '{"text": "烤箱有货吗？"}'
      ;;
    data:*'"type":"kefu.chat.say"'*'"subject":"'"$chat"'"'*)
      echo "$line" | sed 's/.*"text":"\([^"]*\)".*/\1/'
      id=$(echo "$line" | sed 's/.*"specversion":"1.0","id":"\([^"]*\)".*/\1/')
      post outcomes "$id.delivered" instruction.delivered '{"instruction": "'"$id"'"}'
      break
      ;;
  esac
done < "$stream"
