// MusterDB from Java, by Jedis 5 (redis.clients:jedis): java -cp 'jars/*' Java.java [port]

import java.util.ArrayList;
import java.util.List;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.Response;
import redis.clients.jedis.commands.ProtocolCommand;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.util.SafeEncoder;

public class Java {
    /** A command that Redis does not have. */
    static ProtocolCommand named(String name) {
        return () -> SafeEncoder.encode(name);
    }

    static String text(Object bytes) {
        return SafeEncoder.encode((byte[]) bytes);
    }

    public static void main(String[] arguments) {
        int port = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 7878;
        try (Jedis muster = new Jedis("127.0.0.1", port)) {
            // muster.auth("app", "secret"); // where the server asks who it is
            muster.sendCommand(named("SQL"), "CREATE TABLE IF NOT EXISTS people (id BIGINT PRIMARY KEY, city TEXT, tags TEXT[])");
            // Writes in a pipeline share a sync, and each has its own reply.
            Pipeline writes = muster.pipelined();
            List<Response<Object>> replies = new ArrayList<>();
            for (int key = 1; key <= 2500; key++) {
                replies.add(writes.sendCommand(named("SET"), "people", "" + key, "city", key % 2 == 1 ? "Lima" : "Kyoto"));
                replies.add(writes.sendCommand(named("TAG"), "people", "" + key, "new"));
            }
            writes.sync();
            replies.forEach(Response::get); // throws what was refused
            System.out.println("written: " + replies.size() + " refused: 0");
            muster.sendCommand(named("SQL"), "CREATE OR REPLACE STATIC AUDIENCE lima AS SELECT id FROM people WHERE city = 'Lima'");
            System.out.println("count: " + muster.sendCommand(named("COUNT"), "lima"));
            System.out.println("contains 1, 2, 9999: " + muster.sendCommand(named("CONTAINS"), "lima", "1", "2", "9999"));
            // All members, a page at a time: the first value is the cursor of the next page, or null after the last.
            int members = 0;
            List<?> page = (List<?>) muster.sendCommand(named("MEMBERS"), "lima", "LIMIT", "1000");
            members += ((List<?>) page.get(1)).size();
            while (page.get(0) != null) {
                page = (List<?>) muster.sendCommand(named("MEMBERS"), "lima", "AFTER", text(page.get(0)), "LIMIT", "1000");
                members += ((List<?>) page.get(1)).size();
            }
            System.out.println("members: " + members);
            // The first row has the columns' names.
            String question = "SELECT city, count(*) FROM people WHERE id <= $1 GROUP BY city ORDER BY city";
            List<?> rows = (List<?>) muster.sendCommand(named("SQL"), question, "100");
            for (Object row : rows.subList(1, rows.size())) {
                System.out.println("row: " + text(((List<?>) row).get(0)) + " " + ((List<?>) row).get(1));
            }
            muster.sendCommand(named("COUNT"), "nobody");
        } catch (JedisDataException error) { // a connection that is lost is JedisConnectionException
            System.out.println("refused: " + error.getMessage());
        }
    }
}
