# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# bash completion for eventbusctl. Groups and topics are asked of the daemon when it answers.

_eventbusctl_words() {
	eventbusctl --wait 200ms status --json 2>/dev/null |
		grep -oE "\"$1\":\"[^\"]*\"" | cut -d'"' -f4 | sort -u
}

_eventbusctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' i
	local common='--socket --json --wait --help'
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--socket | --wait) ((i++)) ;;
		-*) ;;
		*)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	case $prev in
	--socket | --file)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--group)
		mapfile -t COMPREPLY < <(compgen -W "$(eventbusctl --wait 200ms status --json 2>/dev/null |
			grep -oE '"groups":\[.*' | grep -oE '\{"name":"[^"]*"' | cut -d'"' -f4)" -- "$cur")
		return
		;;
	--order)
		mapfile -t COMPREPLY < <(compgen -W 'none key topic' -- "$cur")
		return
		;;
	--ack)
		mapfile -t COMPREPLY < <(compgen -W 'ack none retry reject release drop' -- "$cur")
		return
		;;
	--start)
		mapfile -t COMPREPLY < <(compgen -W 'new earliest time: position:' -- "$cur")
		return
		;;
	esac
	local words
	case $command in
	'') words="pub sub status explain check bench --version $common" ;;
	pub) words="--file --lines --count --key --id --meta --content-type --message-type --timeout --verbose --quiet $common" ;;
	sub) words="--group --start --order --count --timeout --exec --concurrency --lease --max-in-flight --max-retries --dead-letter --ack --reason --positions --payload --ready-fd --quiet $common" ;;
	explain) words="--group $common" ;;
	bench) words="--both --publisher --subscriber --size --count --batch --window --topic --group $common" ;;
	*) words=$common ;;
	esac
	if [[ $cur != -* ]]; then
		case $command in
		sub | explain) words=$(_eventbusctl_words pattern) ;;
		check)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
			;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _eventbusctl eventbusctl
