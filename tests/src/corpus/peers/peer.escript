#!/usr/bin/env escript
-mode(compile).
%% A client on Erlang's ssl, for the corpus: `escript peer.escript OPTION...`; the rest is in the environment.

main(Options) ->
    {ok, _} = application:ensure_all_started(ssl),
    Own = case os:getenv("OWN") of
        false -> [];
        _ -> [{certfile, os:getenv("CERT")}, {keyfile, os:getenv("KEY")}]
    end,
    Version = case os:getenv("VERSION") of "1.3" -> 'tlsv1.3'; _ -> 'tlsv1.2' end,
    Base = Own ++ [{versions, [Version]}, {verify, verify_none}, {active, false}, {mode, binary},
                   {server_name_indication, os:getenv("SNI")}] ++ lists:flatmap(fun option/1, Options),
    Turns = case lists:member("again", Options) of true -> 2; false -> 1 end,
    [talk(Base) || _ <- lists:seq(1, Turns)].

option("middlebox-off") -> [{middlebox_comp_mode, false}];
option("key-update") -> [{key_update_at, 8}];
option("fragment") -> [{max_fragment_length, 512}];
option("again") -> [{session_tickets, auto}];
option("retry") -> [{supported_groups, [secp521r1, secp384r1]}];
option("alpn") -> [{alpn_advertised_protocols, [<<"h2">>, <<"http/1.1">>]}].

talk(Base) ->
    {ok, Ip} = inet:parse_address(os:getenv("IP")),
    case ssl:connect(Ip, list_to_integer(os:getenv("PORT")), Base, 8000) of
        {ok, Socket} ->
            _ = ssl:send(Socket, <<"GET / HTTP/1.0\r\n">>),
            _ = ssl:send(Socket, <<"\r\n">>),
            print(Socket),
            ssl:close(Socket);
        {error, Reason} ->
            io:format("alert or refusal: ~p~n", [Reason]),
            halt(1)
    end.

print(Socket) ->
    case ssl:recv(Socket, 0, 5000) of
        {ok, Data} -> io:put_chars(Data), print(Socket);
        {error, closed} -> ok;
        {error, Reason} -> io:format("alert or refusal: ~p~n", [Reason])
    end.
